package jenkins

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gatewarden/gatewarden"
)

// Controller is what a Jenkins says of itself and of who asks.
type Controller struct {
	Version   string
	User      string // "" when it takes the guard for nobody
	Quieting  bool   // it is about to shut down: builds are queued and do not start
	Executors int    // of the built-in node
}

// Controller asks Jenkins who it is and for whom it takes the guard. It changes nothing.
func (e *Executor) Controller(ctx context.Context) (Controller, error) {
	const who = "/whoAmI/api/json"
	ans, _, err := e.client.send(ctx, http.MethodGet, who, nil, nil, maxJSON)
	if err != nil {
		return Controller{}, err
	}
	if ans.status != http.StatusOK || !ans.jenkins() {
		return Controller{}, e.client.refusal(who, ans)
	}
	var me struct {
		Name      string `json:"name"`
		Anonymous bool   `json:"anonymous"`
	}
	if err := e.client.getJSON(ctx, who, nil, &me); err != nil {
		return Controller{}, err
	}
	var root struct {
		Quieting  bool `json:"quietingDown"`
		Executors int  `json:"numExecutors"`
	}
	if err := e.client.getJSON(ctx, "/api/json", url.Values{"tree": {"quietingDown,numExecutors"}}, &root); err != nil {
		return Controller{}, err
	}
	c := Controller{Version: ans.header.Get("X-Jenkins"), User: me.Name, Quieting: root.Quieting, Executors: root.Executors}
	if me.Anonymous {
		c.User = ""
	}
	return c, nil
}

// MayBuild returns why the guard's user may not build a job, nil when it may. It builds
// nothing: Jenkins looks at the permission before it looks at the method, and a GET
// without a remote trigger's token is refused with 405 once the permission is there.
func (e *Executor) MayBuild(ctx context.Context, job string) error {
	path := jobPath(job) + "/buildWithParameters"
	ans, _, err := e.client.send(ctx, http.MethodGet, path, nil, nil, maxJSON)
	switch {
	case err != nil:
		return err
	case ans.status == http.StatusMethodNotAllowed:
		return nil
	case ans.status == http.StatusForbidden:
		return gatewarden.Errorf(gatewarden.Invalid, "the user %q may not build the Jenkins job %q", e.cfg.User, job).
			WithHint("give it the permission Job/Build")
	default:
		return fmt.Errorf("whether the Jenkins job %q may be built: %w", job, e.client.refusal(path, ans))
	}
}
