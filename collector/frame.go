package collector

import (
	"bytes"
	"iter"
)

// Block is a piece of what came in that holds whole frames: lines, datagrams or
// messages, each the JSON of a record or of an array of them, followed by white space.
type Block struct {
	Data    []byte
	Ends    []int // where each frame ends in Data; nil when the frames are lines
	TooLong int   // how many frames were left out because of their length
}

// Add appends a copy of a frame.
func (b *Block) Add(frame []byte) {
	b.Data = append(append(b.Data, frame...), '\n')
	b.Ends = append(b.Ends, len(b.Data))
}

// Reset empties the block for use again.
func (b *Block) Reset() { *b = Block{Data: b.Data[:0], Ends: b.Ends[:0]} }

func (b *Block) frames() iter.Seq[[]byte] {
	if b.Ends == nil {
		return bytes.Lines(b.Data)
	}
	return func(yield func([]byte) bool) {
		from := 0
		for _, end := range b.Ends {
			if !yield(b.Data[from:end]) {
				return
			}
			from = end
		}
	}
}

// Framing cuts a stream into frames. It belongs to one stream.
type Framing interface {
	// Cut takes the whole frames off the front of buf and says how many bytes are done
	// with, those of frames that are too long among them. last says that nothing
	// follows. The block may share buf's memory.
	Cut(buf []byte, last bool) (block Block, used int)
}

// Lines returns the framing of lines that end with a line feed. One that is longer is
// left out, unless it was in the buffer as a whole: it costs nothing more then, and the
// decoder has the same limit.
func Lines(longest ByteSize) Framing { return &lineFraming{longest: int(longest)} }

type lineFraming struct {
	longest  int
	skipping bool // the rest of a line that is too long
	searched int  // how much of the next buffer is known to hold no line feed
}

func (l *lineFraming) Cut(buf []byte, last bool) (Block, int) {
	start, searched := 0, l.searched
	l.searched = 0
	if l.skipping {
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			return Block{}, len(buf)
		}
		start, l.skipping = end+1, false
	}
	// What was searched before is not searched again: a line may come byte by byte.
	end := searched + bytes.LastIndexByte(buf[searched:], '\n') + 1
	switch {
	case last:
		end = len(buf)
	case end == searched:
		end = 0
	}
	if end > start {
		l.searched = len(buf) - end
		return Block{Data: buf[start:end]}, end
	}
	if len(buf)-start > l.longest {
		l.skipping = true
		return Block{TooLong: 1}, len(buf)
	}
	l.searched = len(buf) - start
	return Block{}, start
}
