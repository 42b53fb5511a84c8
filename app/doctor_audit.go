package app

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// audit asks whether those who are told what the journal says can be.
func (d *doctor) audit(ctx context.Context) {
	names := rules.AuditNames(d.set.config.Audit)
	for i := range d.set.config.Audit {
		a := &d.set.config.Audit[i]
		d.peer = "audit " + names[i]
		switch {
		case a.File != nil:
			d.auditFile(a.File.Path)
		case a.Elasticsearch != nil:
			e := a.Elasticsearch
			d.auditPeer(ctx, func(ctx context.Context, p *httpPeer) { d.elasticsearchAnswers(ctx, p) }, sourceSettings{
				"url": e.URL, "ca_file": e.CAFile, "user": e.User, "password": e.Password.Reveal(), "password_file": e.PasswordFile,
				"api_key": e.APIKey.Reveal(), "api_key_file": e.APIKeyFile,
			})
		default:
			g := a.Grafana
			d.auditPeer(ctx, d.auditGrafana, sourceSettings{
				"url": g.URL, "ca_file": g.CAFile, "token": g.Token.Reveal(), "token_file": g.TokenFile,
				"user": g.User, "password": g.Password.Reveal(), "password_file": g.PasswordFile,
			})
		}
	}
}

// auditFile looks whether the file can be written, or made. It makes none.
func (d *doctor) auditFile(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_ = f.Close()
		d.fine("writes", "%s can be written", path)
		return
	}
	folder := filepath.Dir(path)
	if !errors.Is(err, fs.ErrNotExist) {
		d.trouble("writes", "ls -l "+path, "%v", err)
	} else if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		d.trouble("writes", "mkdir -p "+folder, "there is no folder %s", folder)
	} else {
		d.fine("writes", "%s will be made", path)
	}
}

// auditPeer asks a peer with what its settings say.
func (d *doctor) auditPeer(ctx context.Context, ask func(context.Context, *httpPeer), settings sourceSettings) {
	p, err := newHTTPPeer(settings, filepath.Dir(d.set.config.File))
	if err != nil {
		d.failed("settings", err)
		return
	}
	ask(ctx, p)
}

// auditGrafana asks for the newest annotation, as the export does first. Whether one may be
// written only one that is written can tell.
func (d *doctor) auditGrafana(ctx context.Context, p *httpPeer) {
	var list []struct{}
	err := p.get(ctx, "/api/annotations", url.Values{"tags": {"gatewarden"}, "type": {"annotation"}, "limit": {"1"}}, &list)
	if err == nil {
		d.fine("answers", "Grafana shows its annotations at %s", withoutUser(p.base))
		return
	}
	if e, ok := errors.AsType[*gatewarden.Error](err); ok && e.Code != gatewarden.Unavailable {
		e.Hint = "the token_file of a service account with annotations:read and annotations:create for the organisation"
	}
	d.failed("answers", err)
}
