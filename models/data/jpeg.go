package data

import "encoding/binary"

// The bytes of the frame of a JPEG, after its length: the bits of a sample, height and
// width of two bytes each, then the components.
const componentsAt = 5

// frameOf returns the marker of the frame of a JPEG, which says how it is coded, and what
// the frame holds, at least as far as the number of its components. It returns 0 where
// there is none before the pixels.
func frameOf(raw []byte) (marker byte, frame []byte) {
	const scan = 0xda
	for at := 2; at+4+componentsAt < len(raw) && raw[at] == 0xff; {
		marker := raw[at+1]
		switch {
		case marker == 0xff: // filled up
			at++
			continue
		case marker == scan:
			return 0, nil
		case isFrame(marker):
			return marker, raw[at+4:]
		}
		at += 2 + int(binary.BigEndian.Uint16(raw[at+2:]))
	}
	return 0, nil
}

// isFrame reports whether a marker begins a frame, by table B.1 of ITU-T T.81. Three of
// the range are tables and an extension.
func isFrame(marker byte) bool {
	const huffman, extension, arithmetic = 0xc4, 0xc8, 0xcc
	return marker >= 0xc0 && marker <= 0xcf && marker != huffman && marker != extension && marker != arithmetic
}

// adviceOnJPEG says in which form a JPEG is that is not read, where that is known, and how
// to convert it.
func adviceOnJPEG(raw []byte) string {
	marker, frame := frameOf(raw)
	switch {
	case marker == 0:
	case frame[0] > 8 && marker != 0xc3:
		return ", with 12 bits a sample: store it as PNG (magick mogrify -format png -depth 8 FILE, of an ImageMagick " +
			"with libjpeg-turbo 3 or newer)"
	case marker == 0xc9 || marker == 0xca:
		return ", with arithmetic coding: convert it without loss (jpegtran -optimize FILE > NEW) or to PNG " +
			"(magick mogrify -format png FILE)"
	case marker == 0xc3:
		return ", the lossless one: store it as PNG (magick mogrify -format png FILE, of an ImageMagick with " +
			"libjpeg-turbo 3 or newer)"
	}
	return ": store it as PNG or as baseline JPEG (magick mogrify -format png FILE)"
}
