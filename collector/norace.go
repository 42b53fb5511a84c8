//go:build !race

package collector

// raceEnabled says that the race detector runs.
const raceEnabled = false
