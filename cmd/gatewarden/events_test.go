package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// answers are what a guard says, one after the other; then it is waited for in vain.
type answers struct {
	list  []answer
	asked []string
}

type answer struct {
	err    error
	status int
	body   string
	cut    bool // in the middle
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	a.asked = append(a.asked, "since "+q.Get("since")+" limit "+q.Get("limit"))
	if len(a.list) == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	next := a.list[0]
	a.list = a.list[1:]
	if next.err != nil {
		return nil, next.err
	}
	body := io.Reader(strings.NewReader(next.body))
	if next.cut {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{StatusCode: max(next.status, 200), Status: "as the test says", Body: io.NopCloser(body), Header: http.Header{}}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEventsAreFollowedOverTheEndOfAStream(t *testing.T) {
	unreachable := errors.New("connection refused")
	for sentence, c := range map[string]struct {
		answers []answer
		asked   []string
		seen    string
		said    []string
		err     string
	}{
		"the one that leads hands over": {
			answers: []answer{{body: "{\"seq\":7}\n{\"seq\":9}\n"}, {err: unreachable}, {status: 503, body: `{"error":{"code":"unavailable","message":"no guard leads at the moment"}}`}, {body: "{\"seq\":10}\n"}},
			asked:   []string{"since  limit 100", "since 9 limit 10000", "since 9 limit 10000", "since 9 limit 10000", "since 10 limit 10000"},
			seen:    "7 9 10",
			said:    []string{"The stream of events has ended: the guard has closed it. It is followed again.", "The stream of events has ended: the guard has closed it. It is followed again."},
		},
		"it is cut in the middle of an event": {
			answers: []answer{{body: "{\"seq\":7}\n{\"se", cut: true}, {body: "{\"seq\":8}\n"}},
			asked:   []string{"since  limit 100", "since 7 limit 10000", "since 8 limit 10000"},
			seen:    "7 8",
			said:    []string{"The stream of events has ended: unexpected EOF. It is followed again.", "The stream of events has ended: the guard has closed it. It is followed again."},
		},
		"nothing had come yet": {
			answers: []answer{{}},
			asked:   []string{"since  limit 100", "since  limit 100"},
			said:    []string{"The stream of events has ended: the guard has closed it. It is followed again."},
		},
		"nobody answers at first": {
			answers: []answer{{err: unreachable}},
			asked:   []string{"since  limit 100"},
			err:     "does not answer",
		},
		"it is no longer let in": {
			answers: []answer{{body: "{\"seq\":7}\n"}, {status: 401}},
			asked:   []string{"since  limit 100", "since 7 limit 10000"},
			seen:    "7",
			said:    []string{"The stream of events has ended: the guard has closed it. It is followed again."},
			err:     "wants a user and a password",
		},
		"what comes is no event": {
			answers: []answer{{body: "<html>\n"}},
			asked:   []string{"since  limit 100"},
			err:     "reading an event",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard := &answers{list: c.answers}
				client := &client{base: "http://guard:8080", http: &http.Client{Transport: guard}}
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				var seen, said []string
				err := client.follow(ctx, url.Values{"limit": {"100"}}, func(e gatewarden.Event) error {
					seen = append(seen, fmt.Sprint(e.Seq))
					return nil
				}, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
				if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("it ends with %v, want %q", err, c.err)
				}
				if diff := cmp.Diff(c.asked, guard.asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.said, said); diff != "" {
					t.Errorf("said (-want +got):\n%s", diff)
				}
				if got := strings.Join(seen, " "); got != c.seen {
					t.Errorf("saw %s, want %s", got, c.seen)
				}
			})
		})
	}
}
