// Package bounded opens files that strangers wrote without spending more memory
// on them than they hold: pipes and devices are refused before they are opened,
// and archives that unpack to many times their size before they do.
package bounded
