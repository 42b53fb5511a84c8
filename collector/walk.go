package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Walker reads JSON piece by piece, so that what nobody wants takes no memory and a
// limit on how much there is strikes while it is read. Objects may have their fields in
// any order; null is as if it were not there.
type Walker struct{ dec *json.Decoder }

// NewWalker reads r.
func NewWalker(r io.Reader) *Walker {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return &Walker{dec}
}

// Object reads an object. For each field it calls f, which must read its value.
func (w *Walker) Object(f func(name string) error) error {
	return w.inside('{', func() error {
		name, err := w.dec.Token()
		if err != nil {
			return cut(err)
		}
		return f(name.(string)) // the names of an object's fields are strings, or Token has failed
	})
}

// Array reads an array. For each item it calls f, which must read it.
func (w *Walker) Array(f func() error) error { return w.inside('[', f) }

func (w *Walker) inside(open json.Delim, f func() error) error {
	token, err := w.dec.Token()
	switch {
	case err != nil:
		return cut(err)
	case token == nil:
		return nil
	case token != open:
		return fmt.Errorf("%v at byte %d, where %v should be", token, w.dec.InputOffset(), open)
	}
	for w.dec.More() {
		if err := f(); err != nil {
			return err
		}
	}
	_, err = w.dec.Token()
	return cut(err)
}

// cut is an end of the input where there should be more.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxWalkDepth is how deep what is skipped may be nested.
const maxWalkDepth = 64

// Skip reads a value that nobody wants.
func (w *Walker) Skip() error {
	for depth := 0; ; {
		token, err := w.dec.Token()
		if err != nil {
			return cut(err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxWalkDepth {
				return fmt.Errorf("nested deeper than %d at byte %d", maxWalkDepth, w.dec.InputOffset())
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// Text reads a string, a number or a bool as text. null is "".
func (w *Walker) Text() (string, error) {
	token, err := w.dec.Token()
	switch v := token.(type) {
	case nil:
		return "", cut(err)
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		return "", fmt.Errorf("%v at byte %d, where a string, a number or true or false should be", v, w.dec.InputOffset())
	}
}

// Number reads a whole number that is not negative, as a number or as a string, as JSON of
// protobuf has those of 64 bits.
func (w *Walker) Number() (uint64, error) {
	text, err := w.Text()
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q before byte %d is no whole number", Name(text), w.dec.InputOffset())
	}
	return n, nil
}

// End returns an error unless all that is left is white space.
func (w *Walker) End() error {
	token, err := w.dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%v after the end, before byte %d", token, w.dec.InputOffset())
}

// More reports whether there is another value to read.
func (w *Walker) More() bool { return w.dec.More() }
