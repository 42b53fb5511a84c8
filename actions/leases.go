package actions

import (
	"context"
	"maps"
	"sync"
	"time"
)

// memoryLeases keeps leases as long as the process lives, for replay and tests.
type memoryLeases struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// NewMemoryLeases returns leases that live and die with the process, for replay and
// tests.
func NewMemoryLeases() Leases { return &memoryLeases{until: make(map[string]time.Time)} }

func (l *memoryLeases) Put(_ context.Context, actionID string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[actionID] = until
	return nil
}

func (l *memoryLeases) Delete(_ context.Context, actionID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, actionID)
	return nil
}

func (l *memoryLeases) All(context.Context) (map[string]time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.until), nil
}
