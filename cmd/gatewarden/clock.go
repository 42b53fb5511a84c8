package main

import (
	"os"
	"strings"
	"sync"
	"time"
)

// clock returns the wall clock of the chaos test, nil for everybody else: the real one,
// set forward or back by what the file says that clockEnv names.
//
// What it returns has no monotonic part: two of its instants are as far apart as the
// clock on the wall says, which is what a set clock does to all that is written down.
// Timers run on as they do when a clock is set.
func clock() func() time.Time {
	file := os.Getenv(clockEnv)
	if file == "" {
		return nil
	}
	var mu sync.Mutex
	var off time.Duration
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if text, err := os.ReadFile(file); err == nil {
			if d, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
				off = d // else the file is just being written
			}
		}
		return time.Now().Round(0).Add(off)
	}
}

// clockEnv names the file with how far the clock of this process is off, such as "-30s".
// Only the chaos test sets it.
const clockEnv = "GATEWARDEN_TEST_CLOCK"
