package state

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// quiet is for how long a line of the server that was logged is not logged again: it
	// tries to reach other guards every second.
	quiet = time.Minute
	// maxQuiet bounds how many different lines are remembered for that.
	maxQuiet = 256
	// ownPasswords begins what the server says of any password that is not in its file: these
	// are in memory only.
	ownPasswords = "Plaintext passwords detected"
)

// serverLog hands the embedded server's lines to slog: what it says in passing as
// debug, what went wrong as warnings. It remembers the last error, which is the
// only place where the server says why it did not start.
type serverLog struct {
	logger *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	last  string
	fatal bool
	said  map[string]time.Time // by line without its numbers: when it was logged
}

func newServerLog(logger *slog.Logger) *serverLog {
	return &serverLog{logger: logger, now: time.Now, said: make(map[string]time.Time)}
}

func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// died reports whether the server has given up.
func (l *serverLog) died() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *serverLog) failed(line string) {
	l.mu.Lock()
	l.last = line
	l.mu.Unlock()
	l.warn(line)
}

// warn logs a line unless it was just logged with other numbers in it.
func (l *serverLog) warn(line string) {
	if strings.HasPrefix(line, ownPasswords) || l.repeats(line) {
		l.logger.Debug("embedded NATS server", "line", line)
		return
	}
	if hint := hintFor(line); hint != "" {
		l.logger.Warn("embedded NATS server", "line", line, "hint", hint)
		return
	}
	l.logger.Warn("embedded NATS server", "line", line)
}

func (l *serverLog) repeats(line string) bool {
	key := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, line)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if at, ok := l.said[key]; ok && now.Sub(at) < quiet {
		return true
	}
	if len(l.said) >= maxQuiet {
		clear(l.said)
	}
	l.said[key] = now
	return false
}

// hintFor says what to do about what the server says of the other guards; "" when that
// is not known.
func hintFor(line string) string {
	lower := strings.ToLower(line)
	switch {
	case strings.Contains(lower, "authorization violation"), strings.Contains(lower, "authentication error"):
		return "is state.cluster's secret the same for all guards?"
	case strings.Contains(lower, "duplicate name"):
		return "two guards have the same state.cluster.name"
	case strings.Contains(lower, "tls"):
		return "have all guards TLS in state.cluster, with certificates of the same authority?"
	default:
		return ""
	}
}

func (l *serverLog) debug(format string, v []any) {
	l.logger.Debug("embedded NATS server", "line", fmt.Sprintf(format, v...))
}

func (l *serverLog) Noticef(format string, v ...any) { l.debug(format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.debug(format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.debug(format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.failed(fmt.Sprintf(format, v...)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	l.failed(fmt.Sprintf(format, v...))
	l.mu.Lock()
	l.fatal = true
	l.mu.Unlock()
}
