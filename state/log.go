package state

import (
	"fmt"
	"log/slog"
	"sync"
)

// serverLog hands the embedded server's lines to slog: what it says in passing as
// debug, what went wrong as warnings. It remembers the last error, which is the
// only place where the server says why it did not start.
type serverLog struct {
	logger *slog.Logger

	mu   sync.Mutex
	last string
}

func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *serverLog) failed(format string, v []any) {
	line := fmt.Sprintf(format, v...)
	l.mu.Lock()
	l.last = line
	l.mu.Unlock()
	l.logger.Warn("embedded NATS server", "line", line)
}

func (l *serverLog) said(format string, v []any) {
	l.logger.Debug("embedded NATS server", "line", fmt.Sprintf(format, v...))
}

func (l *serverLog) Noticef(format string, v ...any) { l.said(format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.said(format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.said(format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.failed(format, v) }
func (l *serverLog) Fatalf(format string, v ...any)  { l.failed(format, v) }

func (l *serverLog) Warnf(format string, v ...any) {
	l.logger.Warn("embedded NATS server", "line", fmt.Sprintf(format, v...))
}
