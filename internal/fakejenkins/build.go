package fakejenkins

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is how a build ended.
type Result string

// The results, from good to bad. A result can only get worse.
const (
	Success  Result = "SUCCESS"
	Unstable Result = "UNSTABLE"
	Failure  Result = "FAILURE"
	NotBuilt Result = "NOT_BUILT"
	Aborted  Result = "ABORTED"
)

var badness = map[Result]int{Success: 0, Unstable: 1, Failure: 2, NotBuilt: 3, Aborted: 4}

// Build is one run of a job, as its pipeline sees it. Its console is a writer.
type Build struct {
	Job     string
	Number  int
	QueueID int64

	server     *Server
	job        *job
	item       *item
	parameters map[string]string
	created    time.Time
	appears    time.Time // not listed before it
	ended      time.Time
	building   bool
	result     Result // "" while nothing is known
	deleted    bool
	stop       context.CancelFunc
	stopped    bool
	console    bytes.Buffer
}

// Parameter returns the value of a parameter that the job declares, and "" for
// any other.
func (b *Build) Parameter(name string) string { return b.parameters[name] }

// Write appends to the console.
func (b *Build) Write(p []byte) (int, error) {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	return b.console.Write(p)
}

// print is Write for those who hold the server's lock.
func (b *Build) print(text string) { b.console.WriteString(text) }

// SetResult makes the result r, if that is worse than it is. The build goes on,
// as after the junit step: building, and already UNSTABLE.
func (b *Build) SetResult(r Result) {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	b.worsen(r)
}

func (b *Build) worsen(r Result) {
	if b.result == "" || badness[r] > badness[b.result] {
		b.result = r
	}
}

func (b *Build) listed() bool { return !b.deleted && !time.Now().Before(b.appears) }

func (j *job) build(number int) *Build {
	for _, b := range j.builds {
		if b.Number == number && b.listed() {
			return b
		}
	}
	return nil
}

// start begins the build of an item that leaves the queue.
func (s *Server) start(it *item) {
	now := time.Now()
	ctx, stop := context.WithCancel(s.life)
	b := &Build{
		Job: it.job.Name, Number: it.job.next, QueueID: it.id, server: s, job: it.job, item: it, parameters: it.parameters,
		created: now, appears: now.Add(s.cfg.StartGap), building: true, stop: stop,
	}
	it.job.next++
	it.job.builds = append(it.job.builds, b)
	it.left, it.build = now, b
	s.busy++
	for _, c := range it.causes {
		b.print(c + "\n")
	}
	b.print("[Pipeline] Start of Pipeline\n")
	pipeline := it.job.Pipeline
	s.work.Go(func() {
		defer stop()
		s.run(ctx, b, pipeline)
	})
}

func (s *Server) run(ctx context.Context, b *Build, pipeline Pipeline) {
	if gap := s.cfg.StartGap; gap > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(gap):
		}
	}
	var err error
	if pipeline != nil {
		err = pipeline(ctx, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.stopped || ctx.Err() != nil:
		b.worsen(Aborted)
	case err != nil:
		b.print("ERROR: " + err.Error() + "\n")
		b.worsen(Failure)
	default:
		b.worsen(Success)
	}
	b.print("[Pipeline] End of Pipeline\nFinished: " + string(b.result) + "\n")
	b.building, b.ended = false, time.Now()
	s.busy--
	b.job.discard()
	s.maintain()
}

// discard is the build discarder: the oldest go, those that run stay.
func (j *job) discard() {
	if j.Keep <= 0 {
		return
	}
	kept := 0
	for _, v := range slices.Backward(j.builds) {
		if b := v; !b.deleted {
			if kept++; kept > j.Keep && !b.building {
				b.deleted = true
			}
		}
	}
}

// DeleteBuild removes the record of a build, as somebody may by hand.
func (s *Server) DeleteBuild(name string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[name]; j != nil {
		if b := j.build(number); b != nil {
			b.deleted = true
		}
	}
}

// Run is what became of one build.
type Run struct {
	Job        string
	Number     int
	QueueID    int64
	Parameters map[string]string // with the passwords, which Jenkins never shows
	Building   bool
	Result     Result
	Console    string
	Deleted    bool // its record is gone
	Created    time.Time
	Ended      time.Time
}

// Runs returns every build of a job that ever started, the deleted ones too, the
// oldest first.
func (s *Server) Runs(name string) []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Run
	if j := s.jobs[name]; j != nil {
		for _, b := range j.builds {
			out = append(out, Run{
				Job: b.Job, Number: b.Number, QueueID: b.QueueID, Parameters: maps.Clone(b.parameters), Building: b.building,
				Result: b.result, Console: b.console.String(), Deleted: b.deleted, Created: b.created, Ended: b.ended,
			})
		}
	}
	return out
}

// serveRun serves the pages below a build.
func (s *Server) serveRun(w http.ResponseWriter, r *http.Request, who user, b *Build, rest string) {
	switch rest {
	case "":
		page(w, http.StatusOK, b.Job+" #"+strconv.Itoa(b.Number))
	case "api/json":
		export(w, r, s.runObject(b), "")
	case "console":
		page(w, http.StatusOK, "<pre>"+b.console.String()+"</pre>")
	case "consoleText":
		w.Header().Set("Content-Type", "text/plain;charset=utf-8")
		_, _ = w.Write(b.console.Bytes())
	case "logText/progressiveText":
		b.serveProgressiveText(w, r)
	case "stop", "term", "kill":
		s.serveStop(w, r, who, b)
	default:
		notFound(w, r)
	}
}

// serveProgressiveText serves the console from an offset. One beyond the end
// starts over: Jenkins takes the log for rotated.
func (b *Build) serveProgressiveText(w http.ResponseWriter, r *http.Request) {
	start, _ := atoi(r.URL.Query().Get("start"))
	text := b.console.Bytes()
	if start > len(text) {
		start = 0
	}
	w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	w.Header().Set("X-Text-Size", strconv.Itoa(len(text)))
	if b.building {
		w.Header().Set("X-More-Data", "true")
	}
	_, _ = w.Write(text[start:])
}

// serveStop stops a build; the answer is the same when none is running.
func (s *Server) serveStop(w http.ResponseWriter, r *http.Request, who user, b *Build) {
	if !who.can(JobCancel) {
		denied(w, who, JobCancel)
		return
	}
	if r.Method != http.MethodPost {
		requirePOST(w)
		return
	}
	if b.building {
		b.stopped = true
		b.print("Aborted by " + who.displayName() + "\n")
		b.stop()
	}
	back := r.Referer()
	if back == "" {
		back = "."
	}
	redirect(w, http.StatusFound, back)
}

func (s *Server) runObject(b *Build) object {
	o := object{
		"_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun",
		"actions": append(b.item.actions(), object{}, object{"_class": "org.jenkinsci.plugins.displayurlapi.actions.RunDisplayAction"},
			object{}),
		"artifacts": list{}, "building": b.building, "inProgress": b.building, "description": nil,
		"displayName": "#" + strconv.Itoa(b.Number), "fullDisplayName": fmt.Sprintf("%s #%d", strings.ReplaceAll(b.Job, "/", " » "), b.Number),
		"duration": 0, "estimatedDuration": b.job.estimate().Milliseconds(), "executor": nil, "id": strconv.Itoa(b.Number), "keepLog": false, "number": b.Number,
		"queueId": b.QueueID, "result": nil, "timestamp": b.created.UnixMilli(), "url": s.runURL(b), "changeSets": list{}, "culprits": list{},
		"nextBuild": nil, "previousBuild": nil,
	}
	if b.result != "" {
		o["result"] = string(b.result)
	}
	if b.building {
		o["executor"] = object{"_class": "hudson.model.OneOffExecutor"}
	} else {
		o["duration"] = b.ended.Sub(b.created).Milliseconds()
	}
	for _, other := range b.job.builds {
		ref := object{"number": other.Number, "url": s.runURL(other)}
		switch {
		case !other.listed():
		case other.Number < b.Number:
			o["previousBuild"] = ref
		case other.Number > b.Number && o["nextBuild"] == nil:
			o["nextBuild"] = ref
		}
	}
	return o
}

func (s *Server) runURL(b *Build) string {
	return s.cfg.PublicURL + jobPath(b.Job) + strconv.Itoa(b.Number) + "/"
}

// estimate is the mean of the last three builds that ended, one minute without.
func (j *job) estimate() time.Duration {
	var sum time.Duration
	n := 0
	for i := len(j.builds) - 1; i >= 0 && n < 3; i-- {
		if b := j.builds[i]; !b.building {
			sum += b.ended.Sub(b.created)
			n++
		}
	}
	if n == 0 {
		return time.Minute
	}
	return sum / time.Duration(n)
}
