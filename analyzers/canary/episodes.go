package canary

import "math"

// Episodes. A client whose requests fail retries, and its failures say again and again
// what the first one said. A run of failures of one client is therefore one event, however
// long it is. Only where several clients fail in the same second it is not that client's
// own trouble, and counts again after ten seconds, then after twenty, forty and so on. The
// table is shared by both tracks, so that a client that uses both is the first one's:
// separate tables would be biased.
//
// A client may be many: an address that hides an office, a consumer that is a whole shop.
// It has dozens of good requests between two failures, so that those are no retries:
// then they are two events. Otherwise the failures of whoever sends most would count least.
const (
	episodeGap   = 10   // seconds without a failure that end a run
	episodeCrowd = 3    // clients that fail in the same second, on either track, are several
	episodeAgain = 10   // seconds until a run counts again then; doubled each time
	episodeGood  = 60   // good requests since the run counted that end it, if few have failed meanwhile
	episodeMost  = 2    // so many times as many good ones as failures
	maxEpisodes  = 8192 // clients remembered; beyond, each second in which a client fails counts
)

// episode is a client's run of failures. Times are Unix seconds.
type episode struct {
	Last  int64 `json:"last"`  // its latest failure
	Count int64 `json:"count"` // when it counted last
	Again int64 `json:"again"` // how many seconds after Count it counts again
	Good  int64 `json:"good"`  // its good requests since it counted
	Bad   int64 `json:"bad"`   // seconds with failures since then
}

// episodes remembers the runs by client.
type episodes map[uint64]episode

// counts says whether a failure of the client in this second, in which so many clients
// fail, is an event. Seconds do not go back.
func (e episodes) counts(client uint64, second int64, clients int) bool {
	ep, known := e[client]
	switch {
	case !known && len(e) >= maxEpisodes:
		return true
	case !known || second-ep.Last >= episodeGap || ep.Good >= episodeGood && ep.Good >= episodeMost*ep.Bad:
		e[client] = episode{Last: second, Count: second, Again: episodeAgain}
		return true
	}
	ep.Last = second
	ep.Bad++
	again := clients >= episodeCrowd && second-ep.Count >= ep.Again
	if again {
		ep.Count, ep.Again = second, min(2*ep.Again, math.MaxInt32)
		ep.Good, ep.Bad = 0, 0
	}
	e[client] = ep
	return again
}

func (e episodes) has(client uint64) bool {
	_, ok := e[client]
	return ok
}

// good remembers good requests of a client, if it is known.
func (e episodes) good(client uint64, n uint64) {
	if ep, ok := e[client]; ok {
		ep.Good = min(ep.Good+int64(n), math.MaxInt32)
		e[client] = ep
	}
}

// forget drops the runs that are over.
func (e episodes) forget(second int64) {
	for client, ep := range e {
		if second-ep.Last >= episodeGap {
			delete(e, client)
		}
	}
}
