package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"
)

// server serves a file slowly.
type server struct {
	*httptest.Server
	body   []byte
	sha256 string
}

// serve starts a server of a file of two megabytes.
func serve() *server {
	s := &server{body: make([]byte, 2<<20)}
	for i := range s.body {
		s.body[i] = byte(i * i >> 3)
	}
	sum := sha256.Sum256(s.body)
	s.sha256 = hex.EncodeToString(sum[:])
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		http.ServeContent(slowWriter{w}, q, "file", time.Time{}, bytes.NewReader(s.body))
	}))
	return s
}

// slowWriter waits before each write.
type slowWriter struct{ http.ResponseWriter }

func (w slowWriter) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return w.ResponseWriter.Write(b)
}

// whole looks at a file that was fetched: it is the file of the server or is not
// there.
func (s *server) whole(path string) (verdict, string) {
	text, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(text, s.body) {
		return torn, "the file is another one"
	}
	return good, ""
}

// killedDownloads kills downloads and goes on with them.
func (f *faults) killedDownloads() (row, error) {
	r := row{what: "killed while downloading"}
	s := serve()
	defer s.Close()
	dir, err := f.place("downloads")
	if err != nil {
		return r, err
	}
	path := filepath.Join(dir, "file")
	check := func() (verdict, string) {
		v, note := s.whole(path)
		if exists(path) {
			_ = os.Remove(path) // the next one starts over
		}
		return v, note
	}
	job := []string{"fetch", s.URL, s.sha256, path}
	if err := f.killed(&r, f.kills/5, 60*time.Millisecond, job, check); err != nil {
		return r, err
	}
	p, err := f.spawn(job[0], job[1:]...)
	if err != nil {
		return r, err
	}
	said, v := p.wait()
	if v == good && (said != "" || !exists(path)) {
		v = wrong
	} else if v == good {
		v, said = s.whole(path)
	}
	r.add(v, said)
	r.leak(leftOver(dir, "file"))
	return r, nil
}

// pairsOfDownloads lets two processes fetch one file: both have it.
func (f *faults) pairsOfDownloads() (row, error) {
	r := row{what: "two processes download one file"}
	s := serve()
	defer s.Close()
	dir, err := f.place("fetches")
	if err != nil {
		return r, err
	}
	path := filepath.Join(dir, "file")
	for range f.pairs {
		said, v, err := f.pair(nil, "fetch", s.URL, s.sha256, path)
		if err != nil {
			return r, err
		}
		note := sayAll(said)
		if v == good && (note != "" || !exists(path)) {
			v = wrong
		} else if v == good {
			v, note = s.whole(path)
		}
		r.add(v, note)
		r.leak(leftOver(dir, "file"))
		if err := os.Remove(path); err != nil {
			return r, err
		}
	}
	return r, nil
}
