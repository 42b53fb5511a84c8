package app

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestPartsMakeTheMessageOnceInAnyOrder has parts of several messages come mixed, and again.
func TestPartsMakeTheMessageOnceInAnyOrder(t *testing.T) {
	long := noise(2*partBytes + partBytes/2)
	messages := [][]byte{{}, long[:10], long}
	var all [][]byte
	for _, m := range messages {
		all = append(all, inParts(m)...)
	}
	rapid.Check(t, func(t *rapid.T) {
		var s sets
		var got [][]byte
		for _, p := range rapid.Permutation(all).Draw(t, "order") {
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				whole, err := s.add(bytes.Clone(p))
				if err != nil {
					t.Fatal(err)
				}
				if whole != nil || err == nil && isOnly(p) {
					got = append(got, whole)
				}
			}
		}
		for _, m := range messages {
			found := 0
			for _, g := range got {
				if bytes.Equal(m, g) {
					found++
				}
			}
			if found == 0 {
				t.Fatalf("a message of %d bytes never became whole", len(m))
			}
		}
		for _, g := range got {
			if !bytes.Equal(g, long[:len(g)]) {
				t.Fatal("what became whole is no message")
			}
		}
	})
}

// isOnly reports whether a part is all of its set.
func isOnly(message []byte) bool {
	p, _, _ := parsePart(message)
	return p.of == 1
}

// TestSetsThatAreNeverWholeAreForgotten, the oldest first.
func TestSetsThatAreNeverWholeAreForgotten(t *testing.T) {
	var s sets
	var first [][]byte
	long := noise(partBytes + 10)
	for i := range 3 * maxSets {
		parts := inParts(long)
		if i == 0 {
			first = parts
		}
		if whole, err := s.add(parts[0]); whole != nil || err != nil {
			t.Fatalf("%d bytes, %v", len(whole), err)
		}
	}
	if len(s.waiting) != maxSets {
		t.Errorf("%d sets wait", len(s.waiting))
	}
	for _, p := range first[1:] {
		if whole, err := s.add(p); whole != nil || err != nil {
			t.Errorf("%d bytes, %v", len(whole), err)
		}
	}
}

func FuzzParts(f *testing.F) {
	for _, p := range inParts([]byte("counts")) {
		f.Add(p)
	}
	f.Add([]byte(partMark + "0123456789abcdef 0 1\nx"))
	f.Add([]byte(partMark + "0123456789abcdef 7 3\n"))
	f.Add([]byte("counts"))
	f.Fuzz(func(t *testing.T, message []byte) {
		var s sets
		whole, err := s.add(message)
		if !bytes.HasPrefix(message, []byte(partMark)) && (err != nil || !bytes.Equal(whole, message)) {
			t.Errorf("%q became %q, %v", message, whole, err)
		}
		if err != nil && whole != nil && bytes.HasPrefix(message, []byte(partMark)) && len(s.waiting) > 0 {
			t.Errorf("%q is damaged and kept", message)
		}
	})
}
