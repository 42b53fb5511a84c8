package fakejenkins

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ParameterType is a class of parameter definitions, without its package.
type ParameterType string

// The types of parameters.
const (
	StringParameter   ParameterType = "StringParameterDefinition"
	TextParameter     ParameterType = "TextParameterDefinition"
	BooleanParameter  ParameterType = "BooleanParameterDefinition"
	ChoiceParameter   ParameterType = "ChoiceParameterDefinition"
	PasswordParameter ParameterType = "PasswordParameterDefinition"
)

// Parameter is the definition of one parameter of a job.
type Parameter struct {
	Name    string
	Type    ParameterType // StringParameter unless set
	Default string        // of a choice it is the first
	Choices []string
}

// Pipeline is what a job does. Its context ends when somebody stops the build, or
// the server closes. Nil is SUCCESS, an error FAILURE, unless the build's result
// was set to something worse; a pipeline that was stopped is ABORTED.
type Pipeline func(ctx context.Context, b *Build) error

// Job is a job as its configuration has it.
type Job struct {
	// Name is the full name with its folders, which are made as needed:
	// "shop/orders-rollback". A branch feature/x of a multibranch project is the item
	// "feature%2Fx", as it is in Jenkins.
	Name       string
	Parameters []Parameter // none: the job is not parameterized
	Disabled   bool
	// Serial is disableConcurrentBuilds().
	Serial bool
	// TriggerToken is the "authentication token" for remote triggers; "" is none.
	TriggerToken string
	// Keep is the build discarder's number of builds; 0 keeps all.
	Keep int
	// Offline stands for a label that no node has: items wait and never leave.
	Offline  bool
	Pipeline Pipeline // nil succeeds at once
}

type job struct {
	Job
	builds []*Build // the oldest first, the discarded ones too
	next   int
}

// SetJob adds a job, or changes the configuration of the one of that name; its
// builds stay.
func (s *Server) SetJob(cfg Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg.Parameters = slices.Clone(cfg.Parameters)
	for i := range cfg.Parameters {
		if cfg.Parameters[i].Type == "" {
			cfg.Parameters[i].Type = StringParameter
		}
	}
	if j := s.jobs[cfg.Name]; j != nil {
		j.Job = cfg
		return
	}
	s.jobs[cfg.Name] = &job{Job: cfg, next: 1}
}

// RemoveJob deletes a job with its builds and cancels what of it is queued.
func (s *Server) RemoveJob(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[name]
	delete(s.jobs, name)
	for _, it := range s.queue {
		if it.job == j && it.left.IsZero() {
			it.left, it.cancelled = time.Now(), true
		}
	}
}

func (j *job) definition(name string) (Parameter, bool) {
	i := slices.IndexFunc(j.Parameters, func(p Parameter) bool { return p.Name == name })
	if i < 0 {
		return Parameter{}, false
	}
	return j.Parameters[i], true
}

// jobPath returns the path of a full name: "job/shop/job/orders-rollback/".
func jobPath(fullName string) string {
	var b strings.Builder
	for name := range strings.SplitSeq(fullName, "/") {
		b.WriteString("job/" + url.PathEscape(name) + "/")
	}
	return b.String()
}

func shortName(fullName string) string { return fullName[strings.LastIndex(fullName, "/")+1:] }

// routeJob serves /job/a/job/b/... The folders are those that jobs are in.
func (s *Server) routeJob(w http.ResponseWriter, r *http.Request, who user, segments []string) {
	var names []string
	for len(segments) >= 2 && segments[0] == "job" {
		name, err := url.PathUnescape(segments[1])
		if err != nil {
			page(w, http.StatusBadRequest, "bad escape in the path")
			return
		}
		names, segments = append(names, name), segments[2:]
	}
	fullName := strings.Join(names, "/")
	j := s.jobs[fullName]
	if !who.can(JobRead) {
		if who.can(JobDiscover) && j != nil {
			denied(w, who, JobRead)
			return
		}
		notFound(w, r)
		return
	}
	if j == nil {
		s.serveFolder(w, r, who, fullName, segments)
		return
	}
	s.serveJob(w, r, who, j, segments)
}

func (s *Server) serveJob(w http.ResponseWriter, r *http.Request, who user, j *job, rest []string) {
	switch strings.Join(rest, "/") {
	case "":
		page(w, http.StatusOK, j.Name)
	case "api/json":
		export(w, r, s.jobObject(j), shallowJob)
	case "build":
		s.serveBuild(w, r, who, j)
	case "buildWithParameters":
		s.serveBuildWithParameters(w, r, who, j)
	default:
		number, ok := atoi(rest[0])
		if !ok {
			notFound(w, r)
			return
		}
		b := j.build(number)
		if b == nil {
			notFound(w, r)
			return
		}
		s.serveRun(w, r, who, b, strings.Join(rest[1:], "/"))
	}
}

func (s *Server) serveFolder(w http.ResponseWriter, r *http.Request, who user, name string, rest []string) {
	jobs := s.listing(name+"/", who)
	switch {
	case len(jobs) == 0:
		notFound(w, r)
	case strings.Join(rest, "/") == "api/json":
		export(w, r, object{
			"_class": "com.cloudbees.hudson.plugins.folder.Folder", "name": shortName(name), "fullName": name,
			"url": s.cfg.PublicURL + jobPath(name), "jobs": jobs,
		}, "")
	case len(rest) == 0:
		page(w, http.StatusOK, name)
	default:
		notFound(w, r)
	}
}

// listing returns what is directly in a folder; prefix is its full name and a
// slash, or "" for the root.
func (s *Server) listing(prefix string, who user) list {
	out := list{}
	if !who.can(JobRead) {
		return out
	}
	seen := map[string]bool{}
	names := make([]string, 0, len(s.jobs))
	for name := range s.jobs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, full := range names {
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		name, _, folder := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		o := object{"_class": workflowJob, "name": name, "url": s.cfg.PublicURL + jobPath(prefix+name), "color": "blue"}
		if folder {
			o["_class"] = "com.cloudbees.hudson.plugins.folder.Folder"
			delete(o, "color")
		}
		out = append(out, o)
	}
	return out
}

const workflowJob = "org.jenkinsci.plugins.workflow.job.WorkflowJob"

// shallowJob is what a job's api/json shows without a tree.
const shallowJob = "buildable,color,concurrentBuild,description,displayName,fullDisplayName,fullName,inQueue,name,nextBuildNumber,url," +
	"builds[number,url],firstBuild[number,url],lastBuild[number,url],lastCompletedBuild[number,url],queueItem[id,why,url]," +
	"property[parameterDefinitions[name,type,description,choices,defaultParameterValue[name,value]]]"

// newestBuilds is how many builds the property "builds" shows; "allBuilds" has all.
const newestBuilds = 100

func (s *Server) jobObject(j *job) object {
	o := object{
		"_class": workflowJob, "name": shortName(j.Name), "fullName": j.Name, "displayName": j.Name,
		"fullDisplayName": strings.ReplaceAll(j.Name, "/", " » "), "description": "", "url": s.cfg.PublicURL + jobPath(j.Name),
		"buildable": !j.Disabled, "color": "blue", "concurrentBuild": !j.Serial, "nextBuildNumber": j.next,
		"inQueue": false, "queueItem": nil, "property": j.properties(),
		"firstBuild": nil, "lastBuild": nil, "lastCompletedBuild": nil,
	}
	if j.Disabled {
		o["color"] = "disabled"
	}
	for _, it := range s.queue {
		if it.job == j && it.left.IsZero() {
			o["inQueue"], o["queueItem"] = true, s.itemObject(it)
			break
		}
	}
	all := list{}
	for _, b := range slices.Backward(j.builds) {
		if !b.listed() {
			continue
		}
		ro := s.runObject(b)
		if len(all) == 0 {
			o["lastBuild"] = ro
		}
		if !b.building && o["lastCompletedBuild"] == nil {
			o["lastCompletedBuild"] = ro
		}
		o["firstBuild"] = ro
		all = append(all, ro)
	}
	o["allBuilds"], o["builds"] = all, all[:min(len(all), newestBuilds)]
	return o
}

func (j *job) properties() list {
	out := list{}
	if j.Serial {
		out = append(out, object{"_class": "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"})
	}
	if len(j.Parameters) == 0 {
		return out
	}
	defs := list{}
	for _, p := range j.Parameters {
		d := object{"_class": "hudson.model." + string(p.Type), "name": p.Name, "type": string(p.Type), "description": ""}
		v := p.value(p.preset())
		if p.Type == PasswordParameter {
			v = object{"_class": v["_class"], "name": p.Name}
		}
		d["defaultParameterValue"] = v
		if p.Type == ChoiceParameter {
			choices := list{}
			for _, c := range p.Choices {
				choices = append(choices, c)
			}
			d["choices"] = choices
		}
		defs = append(defs, d)
	}
	return append(out, object{"_class": "hudson.model.ParametersDefinitionProperty", "parameterDefinitions": defs})
}

func (p Parameter) preset() string {
	if p.Type == ChoiceParameter && len(p.Choices) > 0 {
		return p.Choices[0]
	}
	if p.Type == BooleanParameter && p.Default == "" {
		return "false"
	}
	return p.Default
}

// value returns the exported parameter value; a password shows only its name.
func (p Parameter) value(text string) object {
	switch p.Type {
	case BooleanParameter:
		return object{"_class": "hudson.model.BooleanParameterValue", "name": p.Name, "value": text == "true"}
	case PasswordParameter:
		return object{"_class": "hudson.model.PasswordParameterValue", "name": p.Name}
	case TextParameter:
		return object{"_class": "hudson.model.TextParameterValue", "name": p.Name, "value": text}
	default:
		return object{"_class": "hudson.model.StringParameterValue", "name": p.Name, "value": text}
	}
}

// check returns the value as Jenkins takes it, or its complaint.
func (p Parameter) check(text string) (string, error) {
	switch {
	case p.Type == ChoiceParameter && !slices.Contains(p.Choices, text):
		return "", complaint("Illegal choice for parameter %s: %s", p.Name, text)
	case p.Type == BooleanParameter:
		if strings.EqualFold(text, "true") || text == "on" {
			return "true", nil
		}
		return "false", nil
	}
	return text, nil
}
