package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatewarden/gatewarden"
)

const (
	// lockFile marks a folder as a guard's state and carries the lock on it.
	lockFile = "gatewarden.lock"
	// format heads the lock file; a change that older versions cannot read gets another.
	format = "gatewarden state, format 1"
)

// errLocked is what flock returns when somebody else holds the lock.
var errLocked = errors.New("locked")

// lock holds a state folder for this process. The operating system lets go of it
// when the process dies, however it dies.
type lock struct{ file *os.File }

// lockDir creates dir when it is missing and takes it for this process.
func lockDir(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, dirError(dir, err)
	}
	if err := checkOwner(dir); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, dirError(dir, err)
	}
	l := &lock{file: file}
	if err := l.take(dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func (l *lock) take(dir string) error {
	held := flock(l.file)
	content, err := io.ReadAll(io.LimitReader(l.file, 4096))
	if err != nil {
		return dirError(dir, err)
	}
	if errors.Is(held, errLocked) {
		_, owner, _ := strings.Cut(strings.TrimSpace(string(content)), "\n")
		return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s is in use by another guard (%s)", dir, owner).
			WithHint("stop that one, or give this one a folder of its own")
	}
	if held != nil {
		return dirError(dir, held)
	}
	if first, _, _ := strings.Cut(string(content), "\n"); first != format && strings.TrimSpace(first) != "" {
		return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s says %q, which this version does not know", dir, first).
			WithHint("run the version that wrote it, or a newer one")
	}
	return l.sign(dir)
}

// sign writes who holds the folder, for the message to the next one who wants it.
func (l *lock) sign(dir string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	if err := l.file.Truncate(0); err != nil {
		return dirError(dir, err)
	}
	if _, err := l.file.WriteAt(fmt.Appendf(nil, "%s\nprocess %d on %s\n", format, os.Getpid(), host), 0); err != nil {
		return dirError(dir, err)
	}
	return nil
}

func (l *lock) release() error { return l.file.Close() }
