package jenkins

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// definition is what is asked of a job before it is triggered.
type definition struct {
	Buildable       *bool `json:"buildable"` // nil when it is no job but a folder
	NextBuildNumber int   `json:"nextBuildNumber"`
	Property        []struct {
		ParameterDefinitions []parameterDefinition `json:"parameterDefinitions"`
	} `json:"property"`
}

type parameterDefinition struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Choices []string `json:"choices"`
}

const definitionTree = "buildable,nextBuildNumber,property[parameterDefinitions[name,type,choices]]"

// jobPath returns the path of a full name. Each name is escaped as one segment,
// also one that is escaped already: the item of a branch feature/x is called
// "feature%2Fx", and its path has feature%252Fx.
func jobPath(job string) string {
	var b strings.Builder
	for _, name := range jobNames(job) {
		b.WriteString("/job/" + url.PathEscape(name))
	}
	return b.String()
}

func jobNames(job string) []string { return strings.Split(strings.Trim(job, "/"), "/") }

// isJob reports whether a URL in an answer is the job's. Only the end of the path
// is compared: host and context path are those that Jenkins is configured with.
func isJob(address, job string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	segments := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	names := jobNames(job)
	for _, want := range slices.Backward(names) {
		n := len(segments)
		if n < 2 || segments[n-2] != "job" {
			return false
		}
		if got, err := url.PathUnescape(segments[n-1]); err != nil || got != want {
			return false
		}
		segments = segments[:n-2]
	}
	return len(segments) < 2 || segments[len(segments)-2] != "job"
}

// check reads the job's definition and holds the step to it.
func (e *Executor) check(ctx context.Context, step *gatewarden.JenkinsStep) (*definition, error) {
	for _, name := range jobNames(step.Job) {
		if name == "" || name == "." || name == ".." {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "%q is not the name of a job", step.Job).
				WithHint("write it with its folders, such as shop/orders-rollback")
		}
	}
	var def definition
	err := e.client.getJSON(ctx, jobPath(step.Job)+"/api/json", url.Values{"tree": {definitionTree}}, &def)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no Jenkins job %q, or the user %q may not see it", step.Job, e.cfg.User).
			WithHint("write its name with its folders, and a branch with its slashes as %%2F; the user needs Job/Read")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the definition of the Jenkins job %q: %w", step.Job, err)
	}
	return &def, def.allows(step)
}

// allows returns why the job cannot be run as the step wants it, or nil.
func (d *definition) allows(step *gatewarden.JenkinsStep) error {
	if d.Buildable == nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a Jenkins job that can be built", step.Job).WithHint("is it a folder?")
	}
	if !*d.Buildable {
		return gatewarden.Errorf(gatewarden.Conflict, "the Jenkins job %q is disabled", step.Job).WithHint("enable it")
	}
	declared := map[string]parameterDefinition{}
	var names []string
	for _, p := range d.Property {
		for _, def := range p.ParameterDefinitions {
			declared[def.Name] = def
			names = append(names, def.Name)
		}
	}
	if err := declaresAction(step.Job, declared); err != nil {
		return err
	}
	given := make([]string, 0, len(step.Parameters))
	for name := range step.Parameters {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		if name == ActionParameter {
			return gatewarden.Errorf(gatewarden.Invalid, "the step sets %s itself", ActionParameter).
				WithHint("leave it out: the guard sets it to the action's id")
		}
		def, ok := declared[name]
		if !ok {
			return gatewarden.Errorf(gatewarden.Invalid, "the Jenkins job %q does not declare the parameter %q", step.Job, name).
				WithHint("it declares %s; Jenkins drops others without a word", strings.Join(names, ", "))
		}
		if err := def.takes(step.Job, step.Parameters[name]); err != nil {
			return err
		}
	}
	return nil
}

// declaresAction is the condition for running a job once: without the parameter
// its builds cannot be told apart.
func declaresAction(job string, declared map[string]parameterDefinition) error {
	def, ok := declared[ActionParameter]
	if !ok {
		return gatewarden.Errorf(gatewarden.Invalid, "the Jenkins job %q does not declare the parameter %s, so the guard could not keep it from running twice", job, ActionParameter).
			WithHint("add stringParam('%[1]s', '', 'set by gatewarden') to the parameters in its job-dsl, "+
				"or string(name: '%[1]s', defaultValue: '', description: 'set by gatewarden') to parameters {} of its Jenkinsfile and run it once", ActionParameter)
	}
	if def.Type != "StringParameterDefinition" && def.Type != "TextParameterDefinition" {
		return gatewarden.Errorf(gatewarden.Invalid, "the parameter %s of the Jenkins job %q is a %s, whose value cannot be looked up or set freely", ActionParameter, job, def.Type).
			WithHint("make it a string parameter")
	}
	return nil
}

// takes returns why the parameter does not take the value, or nil.
func (p parameterDefinition) takes(job, value string) error {
	switch p.Type {
	case "ChoiceParameterDefinition":
		if !slices.Contains(p.Choices, value) {
			return gatewarden.Errorf(gatewarden.Invalid, "the parameter %q of the Jenkins job %q does not take %q", p.Name, job, value).
				WithHint("it takes one of %s", strings.Join(p.Choices, ", "))
		}
	case "BooleanParameterDefinition":
		if value != "true" && value != "false" {
			return gatewarden.Errorf(gatewarden.Invalid, "the parameter %q of the Jenkins job %q does not take %q", p.Name, job, value).
				WithHint("it takes true or false")
		}
	}
	return nil
}
