//go:build !unix

package app

import "os"

// steering returns the signals that pause the guard and that end it: here are none.
func steering() (pause, resume os.Signal) { return nil, nil }
