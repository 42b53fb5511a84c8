package canary

import "math"

// Episodes. A client whose requests fail retries, and its failures say again and again
// what the first one said. A run of failures of one client is therefore one event; one
// that goes on counts again after a minute, then after two, four and so on. The table is
// shared by both tracks, so that a client that uses both is the first one's: separate
// tables would be biased.
const (
	episodeGap   = 10   // seconds without a failure that end a run
	episodeAgain = 60   // seconds until a run counts again; doubled each time
	maxEpisodes  = 8192 // clients remembered; beyond, each second in which a client fails counts
)

// episode is a client's run of failures. Times are Unix seconds.
type episode struct {
	Last  int64 `json:"last"`  // its latest failure
	Count int64 `json:"count"` // when it counted last
	Again int64 `json:"again"` // how many seconds after Count it counts again
}

// episodes remembers the runs by client.
type episodes map[uint64]episode

// counts says whether a failure of the client in this second is an event. Seconds do not
// go back.
func (e episodes) counts(client uint64, second int64) bool {
	ep, known := e[client]
	switch {
	case !known && len(e) >= maxEpisodes:
		return true
	case !known || second-ep.Last >= episodeGap:
		e[client] = episode{Last: second, Count: second, Again: episodeAgain}
		return true
	}
	ep.Last = second
	again := second-ep.Count >= ep.Again
	if again {
		ep.Count, ep.Again = second, min(2*ep.Again, math.MaxInt32)
	}
	e[client] = ep
	return again
}

// forget drops the runs that are over.
func (e episodes) forget(second int64) {
	for client, ep := range e {
		if second-ep.Last >= episodeGap {
			delete(e, client)
		}
	}
}
