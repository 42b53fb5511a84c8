package main

import (
	"net/http"
	"testing"
)

// A guard that was stopped in the middle, or something before it, said 200 and not a word.
func TestAnOrderIsDoneWhenTheGuardSaysSo(t *testing.T) {
	for body, done := range map[string]bool{`{"status":"reverted"}`: true, "": false, `{"stat`: false} {
		c := &client{base: "http://guard:8080", http: &http.Client{Transport: &answers{list: []answer{{body: body}}}}}
		if err := c.post(t.Context(), "/api/v1/actions/x/revert", "ada", "drill"); (err == nil) != done {
			t.Errorf("after the answer %q it is done: %v", body, err)
		}
	}
}
