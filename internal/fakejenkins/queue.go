package fakejenkins

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// item is one wish for a build. It waits out its quiet period, then for its turn,
// and stays known for a while after it left.
type item struct {
	id         int64
	job        *job
	parameters map[string]string
	defs       []Parameter // the job's when the item was queued
	causes     []string
	users      []string
	since, due time.Time
	left       time.Time // zero while in the queue
	cancelled  bool
	build      *Build
}

// schedule puts a wish into the queue, or finds an equal one that is still in it.
func (s *Server) schedule(j *job, parameters map[string]string, delay time.Duration, who user, cause string) (it *item, folded bool) {
	now := time.Now()
	for _, other := range s.queue {
		if other.job == j && other.left.IsZero() && other.equal(parameters) {
			other.due = earlier(other.due, now.Add(delay))
			other.causes, other.users = append(other.causes, cause), append(other.users, who.name)
			s.wake(delay)
			return other, true
		}
	}
	s.nextItem++
	it = &item{
		id: s.nextItem, job: j, parameters: parameters, defs: slices.Clone(j.Parameters), causes: []string{cause}, users: []string{who.name},
		since: now, due: now.Add(delay),
	}
	s.queue = append(s.queue, it)
	s.wake(delay)
	return it, false
}

// equal compares by name and value; passwords compare by name only.
func (it *item) equal(parameters map[string]string) bool {
	a, b := maps.Clone(it.parameters), maps.Clone(parameters)
	for _, d := range it.defs {
		if d.Type == PasswordParameter {
			delete(a, d.Name)
			delete(b, d.Name)
		}
	}
	return maps.Equal(a, b)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// maintain starts what may start, the oldest first.
func (s *Server) maintain() {
	now := time.Now()
	if s.life.Err() != nil || now.Before(s.downUntil) {
		return
	}
	for _, it := range s.queue {
		if it.left.IsZero() && !now.Before(it.due) && s.obstacle(it) == "" {
			s.start(it)
		}
	}
	s.queue = slices.DeleteFunc(s.queue, func(it *item) bool {
		return !it.left.IsZero() && now.Sub(it.left) > s.cfg.LeftFor
	})
}

// obstacle says why an item whose quiet period is over does not start.
func (s *Server) obstacle(it *item) string {
	switch b := s.blocker(it); {
	case b != nil:
		return fmt.Sprintf("Build #%d is already in progress (ETA: %d sec)", b.Number, int(it.job.estimate().Seconds()))
	case s.quieting:
		return "Jenkins is about to shut down"
	case it.job.Offline:
		return "There are no nodes with the label ‘rollback’"
	case s.busy >= s.executors:
		return "Waiting for next available executor"
	}
	return ""
}

func (s *Server) blocker(it *item) *Build {
	if it.job.Serial {
		for _, b := range it.job.builds {
			if b.building {
				return b
			}
		}
	}
	return nil
}

func (s *Server) item(id int64) *item {
	for _, it := range s.queue {
		if it.id == id && (it.left.IsZero() || time.Since(it.left) <= s.cfg.LeftFor) {
			return it
		}
	}
	return nil
}

// Queued returns the ids of the items that are in the queue.
func (s *Server) Queued() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for _, it := range s.queue {
		if it.left.IsZero() {
			ids = append(ids, it.id)
		}
	}
	return ids
}

// LoseQueue forgets everything that is in the queue or left it, as a Jenkins that
// was killed before it saved the queue.
func (s *Server) LoseQueue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
}

func (s *Server) routeQueue(w http.ResponseWriter, r *http.Request, who user, rest []string) {
	switch {
	case len(rest) == 2 && rest[0] == "api" && rest[1] == "json":
		items := list{}
		for _, it := range slices.Backward(s.queue) { // the newest first
			if it.left.IsZero() && who.can(JobRead) {
				items = append(items, s.itemObject(it))
			}
		}
		export(w, r, object{"_class": "hudson.model.Queue", "discoverableItems": list{}, "items": items}, "")
	case len(rest) == 4 && rest[0] == "item" && rest[2] == "api" && rest[3] == "json":
		id, _ := atoi(rest[1])
		it := s.item(int64(id))
		switch {
		case it == nil || (!who.can(JobRead) && !who.can(JobDiscover)):
			notFound(w, r)
		case !who.can(JobRead):
			denied(w, who, JobRead)
		default:
			export(w, r, s.itemObject(it), "")
		}
	case len(rest) == 1 && rest[0] == "cancelItem":
		s.serveCancel(w, r, who)
	default:
		notFound(w, r)
	}
}

func (s *Server) serveCancel(w http.ResponseWriter, r *http.Request, who user) {
	if r.Method != http.MethodPost {
		requirePOST(w)
		return
	}
	id, ok := atoi(r.URL.Query().Get("id"))
	it := s.item(int64(id))
	switch {
	case !ok || it == nil:
		page(w, http.StatusNotFound, fmt.Sprintf("Provided id (%d) not found", id))
	case !it.left.IsZero() || !who.can(JobCancel):
		page(w, http.StatusUnprocessableEntity, fmt.Sprintf("Item for id (%d) is not cancellable", id))
	default:
		it.left, it.cancelled = time.Now(), true
		w.WriteHeader(http.StatusNoContent)
	}
}

// itemObject exports an item in the class that its state has.
func (s *Server) itemObject(it *item) object {
	o := object{
		"actions": it.actions(), "blocked": false, "buildable": false, "stuck": false, "id": it.id, "inQueueSince": it.since.UnixMilli(),
		"params": it.params(), "why": nil, "url": "queue/item/" + strconv.FormatInt(it.id, 10) + "/",
		"task": object{
			"_class": workflowJob, "name": shortName(it.job.Name), "url": s.cfg.PublicURL + jobPath(it.job.Name), "color": "blue",
		},
	}
	now := time.Now()
	switch {
	case !it.left.IsZero():
		o["_class"], o["cancelled"], o["executable"] = "hudson.model.Queue$LeftItem", it.cancelled, nil
		if b := it.build; b != nil && !now.Before(b.appears) {
			o["executable"] = object{"_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun", "number": b.Number, "url": s.runURL(b)}
		}
	case now.Before(it.due):
		o["_class"], o["timestamp"] = "hudson.model.Queue$WaitingItem", it.due.UnixMilli()
		o["why"] = fmt.Sprintf("In the quiet period. Expires in %.1f sec", it.due.Sub(now).Seconds())
	case s.blocker(it) != nil:
		o["_class"], o["blocked"], o["buildableStartMilliseconds"], o["why"] = "hudson.model.Queue$BlockedItem", true, it.due.UnixMilli(), s.obstacle(it)
	default:
		o["_class"], o["buildable"], o["buildableStartMilliseconds"] = "hudson.model.Queue$BuildableItem", true, it.due.UnixMilli()
		o["pending"], o["stuck"] = false, it.job.Offline
		o["why"] = "Finished waiting"
		if why := s.obstacle(it); why != "" {
			o["why"] = why
		}
	}
	return o
}

func (it *item) params() string {
	var text strings.Builder
	for _, d := range it.defs {
		if d.Type != PasswordParameter {
			text.WriteString("\n" + d.Name + "=" + it.parameters[d.Name])
		}
	}
	return text.String()
}

// actions exports the parameters and the causes.
func (it *item) actions() list {
	out := list{}
	if len(it.defs) > 0 {
		values := list{}
		for _, d := range it.defs {
			values = append(values, d.value(it.parameters[d.Name]))
		}
		out = append(out, object{"_class": "hudson.model.ParametersAction", "parameters": values})
	}
	causes := list{}
	for i, text := range it.causes {
		causes = append(causes, object{
			"_class": "hudson.model.Cause$UserIdCause", "shortDescription": text, "userId": it.users[i], "userName": it.users[i],
		})
	}
	return append(out, object{"_class": "hudson.model.CauseAction", "causes": causes})
}
