package app

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/gatewarden/gatewarden"
)

// Counts that are too much for one message of the log of cells, most often because of long
// checkpoints, are packed and written as several, which count together or not at all: an
// incomplete set, as a crash leaves it, is as one that was never written.

const (
	// partMark begins a part; an id of the set, the part's number from 0, how many there are,
	// and a line feed follow.
	partMark = "gwpart\x01"
	// partBytes keeps a part under the 1 MiB that a NATS server takes by default.
	partBytes = 512 << 10
	// maxPacked and maxUnpacked bound a set. Even 8 MiB in one message is hundreds of
	// thousands of series in one second.
	maxPacked   = 64 << 20
	maxUnpacked = 256 << 20
	// maxSets bounds how many sets wait for more parts: each guard writes one at a time, and
	// what a crash has cut short is never whole.
	maxSets = 16
)

// inParts returns a message in parts; nil for one that is a part itself, or too large.
func inParts(message []byte) [][]byte {
	if bytes.HasPrefix(message, []byte(partMark)) || len(message) > maxUnpacked {
		return nil
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // that level is one
	_, _ = w.Write(message)                              // memory takes it
	_ = w.Close()
	if packed.Len() > maxPacked {
		return nil
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	chunks := slices.Collect(slices.Chunk(packed.Bytes(), partBytes))
	parts := make([][]byte, len(chunks))
	for i, chunk := range chunks {
		parts[i] = append(fmt.Appendf(nil, "%s%s %d %d\n", partMark, hex.EncodeToString(id[:]), i, len(chunks)), chunk...)
	}
	return parts
}

// part is one of several messages that are one.
type part struct {
	set   string
	n, of int
	chunk []byte
}

// parsePart reads a part; ok is false for a message that is none.
func parsePart(message []byte) (p part, ok bool, err error) {
	rest, ok := bytes.CutPrefix(message, []byte(partMark))
	if !ok {
		return p, false, nil
	}
	head, chunk, _ := bytes.Cut(rest, []byte{'\n'})
	p.chunk = chunk
	if _, err := fmt.Sscanf(string(head), "%16s %d %d", &p.set, &p.n, &p.of); err != nil || p.n < 0 || p.n >= p.of || p.of > maxPacked/partBytes {
		return p, true, gatewarden.Errorf(gatewarden.Internal, "a part of a message is damaged")
	}
	p.set = strings.Clone(p.set)
	return p, true, nil
}

// sameSet reports whether two messages are parts of one.
func sameSet(a, b []byte) bool {
	x, isPart, err := parsePart(a)
	y, other, errOther := parsePart(b)
	return isPart && other && err == nil && errOther == nil && x.set == y.set
}

// sets puts parts together. It is safe for concurrent use; the zero sets is ready.
type sets struct {
	mu      sync.Mutex
	waiting []*set // the oldest first
}

// set is what has come of one message.
type set struct {
	id     string
	chunks [][]byte
	have   int
}

// add takes a message and returns it, if it is whole by itself or with what came before;
// nil while parts are missing. Parts may come again, and in any order.
func (s *sets) add(message []byte) ([]byte, error) {
	p, isPart, err := parsePart(message)
	if !isPart || err != nil {
		return message, err
	}
	whole := s.take(&p)
	if whole == nil {
		return nil, nil
	}
	r, err := gzip.NewReader(io.MultiReader(whole...))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "a message in parts is damaged: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	switch {
	case err != nil:
		return nil, gatewarden.Errorf(gatewarden.Internal, "a message in parts is damaged: %w", err)
	case len(out) > maxUnpacked:
		return nil, gatewarden.Errorf(gatewarden.Internal, "a message in parts is longer than %d bytes", maxUnpacked)
	}
	return out, nil
}

// take adds a part to its set, and returns the whole set once.
func (s *sets) take(p *part) []io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.waiting, func(w *set) bool { return w.id == p.set && len(w.chunks) == p.of })
	if i < 0 {
		if len(s.waiting) >= maxSets {
			s.waiting = slices.Delete(s.waiting, 0, 1)
		}
		i = len(s.waiting)
		s.waiting = append(s.waiting, &set{id: p.set, chunks: make([][]byte, p.of)})
	}
	w := s.waiting[i]
	if w.chunks[p.n] == nil {
		w.chunks[p.n] = append([]byte{}, p.chunk...) // who reads the log may use its memory again
		w.have++
	}
	if w.have < p.of {
		return nil
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	readers := make([]io.Reader, p.of)
	for n, chunk := range w.chunks {
		readers[n] = bytes.NewReader(chunk)
	}
	return readers
}
