package filelog

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"os"
)

// prefix is that of the names of marks among the checkpoints.
const prefix = "filelog/"

// headSize is how much of a file's beginning tells it from others. A record of Kong's
// is about half as long and has an id.
const headSize = 4 << 10

// identity is what the file system calls a file. It is used again when the file is
// gone, and may change when the machine starts anew: a hint, and no more.
type identity struct {
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// mark is how far a file was read, as it is kept.
type mark struct {
	identity
	Path    string `json:"path"`               // where it was seen last
	Pattern string `json:"pattern"`            // that it was found by
	Offset  int64  `json:"offset"`             // behind the last line that was counted
	Head    int    `json:"head"`               // so many of its first bytes
	Sum     uint64 `json:"sum"`                // have this sum
	Line    int    `json:"line,omitempty"`     // so many of those are the first line, 0 when it is longer,
	LineSum uint64 `json:"line_sum,omitempty"` // and have this one: a copy may have fewer than Head
	Missed  int64  `json:"missed,omitempty"`   // since when, in Unix seconds, there is no such file
}

func (m *mark) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil { // strings and numbers can always be written
		return nil
	}
	return b
}

// decodeMarks leaves out what cannot be read: its file is read anew.
func decodeMarks(values map[string][]byte) map[string]mark {
	marks := make(map[string]mark, len(values))
	for key, value := range values {
		var m mark
		if json.Unmarshal(value, &m) == nil && m.Head > 0 && m.Head <= headSize && m.Line >= 0 && m.Line <= m.Head && m.Offset > 0 {
			marks[key] = m
		}
	}
	return marks
}

// begin learns how the file begins.
func (m *mark) begin(head []byte) {
	line := firstLine(head)
	if m.Head == len(head) && m.Line == line {
		return
	}
	m.Head, m.Sum = len(head), sum(head)
	m.Line, m.LineSum = line, sum(head[:line])
}

// tells reports whether a head tells a file from all others: it holds a whole line.
// The first bytes of Kong's lines are the same everywhere.
func tells(head []byte) bool { return len(head) == headSize || firstLine(head) > 0 }

// firstLine returns the length of what ends with the first line that is not blank, 0 when head
// does not hold it.
func firstLine(head []byte) int {
	blank := len(head) - len(bytes.TrimLeft(head, " \t\r\n"))
	end := bytes.IndexByte(head[blank:], '\n') + 1
	if end == 0 {
		return 0
	}
	return blank + end
}

// readHead returns the first bytes of f, fewer when it has no more.
func readHead(f *os.File) []byte {
	head := make([]byte, headSize)
	n, _ := f.ReadAt(head, 0) // what cannot be read is not there
	return head[:n]
}

func sum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b) // it never fails
	return h.Sum64()
}
