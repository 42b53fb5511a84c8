package fakejenkins

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// complaint is an error in Jenkins' own words, which begin with a capital.
func complaint(format string, args ...any) error { return jenkinsError(fmt.Sprintf(format, args...)) }

type jenkinsError string

// Error returns Jenkins' words.
func (e jenkinsError) Error() string { return string(e) }

// mayTrigger checks in Jenkins' order: the remote trigger's token, the permission,
// the method, whether the job can be built at all. It answers when it says no.
func (s *Server) mayTrigger(w http.ResponseWriter, r *http.Request, who user, j *job) bool {
	if given := r.URL.Query().Get("token"); j.TriggerToken != "" && given != "" {
		if given != j.TriggerToken {
			page(w, http.StatusForbidden, "Invalid token provided")
			return false
		}
	} else {
		if !who.can(JobBuild) {
			denied(w, who, JobBuild)
			return false
		}
		if r.Method != http.MethodPost {
			requirePOST(w)
			return false
		}
	}
	if j.Disabled {
		page(w, http.StatusConflict, j.Name+" is not buildable")
		return false
	}
	return true
}

// serveBuildWithParameters queues a build with a form field for each parameter.
// Fields that the job does not declare are dropped without a word.
func (s *Server) serveBuildWithParameters(w http.ResponseWriter, r *http.Request, who user, j *job) {
	if !s.mayTrigger(w, r, who, j) {
		return
	}
	if len(j.Parameters) == 0 {
		page(w, http.StatusBadRequest, j.Name+" is not parameterized")
		return
	}
	if err := r.ParseForm(); err != nil {
		page(w, http.StatusBadRequest, err.Error())
		return
	}
	delay, err := s.delay(r)
	if err != nil {
		page(w, http.StatusInternalServerError, err.Error())
		return
	}
	parameters := map[string]string{}
	for _, p := range j.Parameters {
		given := r.Form[p.Name] // of the query and the body together
		switch len(given) {
		case 0:
			parameters[p.Name] = p.preset()
			continue
		case 1:
		default:
			page(w, http.StatusInternalServerError, fmt.Sprintf("Illegal number of parameter values for %s: %d", p.Name, len(given)))
			return
		}
		if parameters[p.Name], err = p.check(given[0]); err != nil {
			page(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	it, folded := s.schedule(j, parameters, delay, who, s.cause(r, who, j))
	if folded {
		redirect(w, http.StatusSeeOther, s.itemURL(r, it))
		return
	}
	redirect(w, http.StatusCreated, s.itemURL(r, it))
}

// serveBuild queues a build of a job without parameters, or with those of the
// form field json.
func (s *Server) serveBuild(w http.ResponseWriter, r *http.Request, who user, j *job) {
	if !s.mayTrigger(w, r, who, j) {
		return
	}
	if err := r.ParseForm(); err != nil {
		page(w, http.StatusBadRequest, err.Error())
		return
	}
	delay, err := s.delay(r)
	if err != nil {
		page(w, http.StatusInternalServerError, err.Error())
		return
	}
	if len(j.Parameters) == 0 {
		it, _ := s.schedule(j, map[string]string{}, delay, who, s.cause(r, who, j))
		redirect(w, http.StatusCreated, s.itemURL(r, it)) // no way to tell whether it is a new one
		return
	}
	text := r.PostForm.Get("json")
	switch {
	case len(r.PostForm) == 0:
		page(w, http.StatusBadRequest, "Nothing is submitted")
		return
	case text == "":
		page(w, http.StatusBadRequest, "This page expects a form submission")
		return
	}
	parameters, err := j.fromJSON(text)
	if err != nil {
		page(w, http.StatusInternalServerError, err.Error())
		return
	}
	it, folded := s.schedule(j, parameters, delay, who, s.cause(r, who, j))
	if folded {
		redirect(w, http.StatusFound, s.here(r)+jobPath(j.Name)) // and no id
		return
	}
	redirect(w, http.StatusCreated, s.itemURL(r, it))
}

// fromJSON reads {"parameter":[{"name":..,"value":..}]}; a single one may stand
// without the brackets.
func (j *job) fromJSON(text string) (map[string]string, error) {
	type pair struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	}
	var form struct {
		Parameter json.RawMessage `json:"parameter"`
	}
	if err := json.Unmarshal([]byte(text), &form); err != nil {
		return nil, err
	}
	var pairs []pair
	if err := json.Unmarshal(form.Parameter, &pairs); err != nil {
		pairs = make([]pair, 1)
		if err := json.Unmarshal(form.Parameter, &pairs[0]); err != nil {
			return nil, err
		}
	}
	out := map[string]string{}
	for _, p := range j.Parameters {
		out[p.Name] = p.preset()
	}
	for _, given := range pairs {
		p, ok := j.definition(given.Name)
		if !ok {
			return nil, complaint("No such parameter definition: %s", given.Name)
		}
		value, err := p.check(fmt.Sprint(given.Value))
		if err != nil {
			return nil, err
		}
		out[p.Name] = value
	}
	return out, nil
}

// delay reads "10sec", "10secs", "0" or a bare number of milliseconds.
func (s *Server) delay(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("delay")
	if text == "" {
		return max(s.cfg.QuietPeriod, 0), nil
	}
	unit := time.Millisecond
	number := text
	for _, suffix := range []string{"secs", "sec"} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = n, time.Second
			break
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 0 {
		return 0, complaint("Invalid delay: %s", text)
	}
	return time.Duration(n) * unit, nil
}

// cause is recorded as text only for a trigger by token.
func (s *Server) cause(r *http.Request, who user, j *job) string {
	if text := r.URL.Query().Get("cause"); j.TriggerToken != "" && r.URL.Query().Get("token") == j.TriggerToken {
		return "Started by remote host " + r.RemoteAddr + " with note: " + text
	}
	return "Started by user " + who.displayName()
}

// here is the server as this client named it.
func (s *Server) here(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: s.cfg.ContextPath + "/"}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

func (s *Server) itemURL(r *http.Request, it *item) string {
	return s.here(r) + "queue/item/" + strconv.FormatInt(it.id, 10) + "/"
}
