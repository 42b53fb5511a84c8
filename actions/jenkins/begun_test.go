package jenkins

import "testing"

func TestWhatIsBegunIsOnlyFollowed(t *testing.T) {
	for memo, want := range map[string]bool{
		`{"job":"j","next_build":3}`:                           false,
		`{"job":"j","next_build":3,"open":true}`:               false, // it may be triggered again
		`{"job":"j","next_build":3,"open":true,"lost":true}`:   true,
		`{"job":"j","next_build":3,"open":true,"queue_id":17}`: true,
		`{"job":"j","build":3}`:                                true,
		``:                                                     false,
	} {
		if got := (&Executor{}).Begun([]byte(memo)); got != want {
			t.Errorf("%s: %v", memo, got)
		}
	}
}
