package export

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/gatewarden/gatewarden"
)

// Lines writes events to a file, as one JSON object a line. The file may be rotated: it is
// opened anew for each batch. How far it got stands in a file beside it, PATH.position, so
// that an empty file after a rotation is not taken for one that has nothing yet.
type Lines struct{ Path string }

var _ Target = Lines{}

// Mark returns the later of what the position says and of the file's last whole line.
func (l Lines) Mark(context.Context) (Mark, error) {
	var kept Mark
	text, err := os.ReadFile(l.position())
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Mark{}, gatewarden.Errorf(gatewarden.Unavailable, "reading how far the export has got: %w", err).
			WithHint("if %s is damaged, remove it: the export goes on behind the last line", l.position())
	}
	last, err := l.last()
	if err != nil {
		return Mark{}, fmt.Errorf("reading the export: %w", err)
	}
	if last.At.After(kept.At) {
		return last, nil
	}
	return kept, nil
}

func (l Lines) position() string { return l.Path + ".position" }

// last returns the mark of the file's last whole line. What a crash left behind that is cut
// off: its event comes again.
func (l Lines) last() (Mark, error) {
	f, err := os.OpenFile(l.Path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, err
	}
	defer f.Close()
	var last Mark
	whole := int64(0)
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return last, f.Truncate(whole)
			}
			return last, nil
		}
		if err != nil {
			return Mark{}, err
		}
		whole += int64(len(line))
		var m Mark
		if json.Unmarshal(line, &m) == nil && m.Seq > 0 {
			last = m
		}
	}
}

// Write appends the events, and returns when they are on the disk.
func (l Lines) Write(_ context.Context, events []gatewarden.Event) error {
	var text bytes.Buffer
	for i := range events {
		line, err := json.Marshal(&events[i])
		if err != nil {
			return gatewarden.Errorf(gatewarden.Internal, "writing event %d as JSON: %w", events[i].Seq, err)
		}
		text.Write(append(line, '\n'))
	}
	if err := write(l.Path, os.O_APPEND, text.Bytes()); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing the export: %w", err)
	}
	last := &events[len(events)-1]
	mark, err := json.Marshal(Mark{Seq: last.Seq, At: last.At})
	if err == nil {
		err = write(l.position()+".new", os.O_TRUNC, mark)
	}
	if err == nil {
		err = os.Rename(l.position()+".new", l.position())
	}
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing how far the export has got: %w", err)
	}
	return nil
}

// write writes to a file, which only its owner and group may read, and waits for the disk.
func write(path string, how int, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
