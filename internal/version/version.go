// Package version says which build of the program this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the release build: -ldflags "-X …/internal/version.release=v1.2.3".
var release = ""

// Info describes a build.
type Info struct {
	Version  string `json:"version"`  // release, module version, or "devel"
	Revision string `json:"revision"` // the commit, with "+dirty" when the tree was changed; "" when unknown
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get returns what the running binary knows about itself.
func Get() Info {
	info := Info{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if ok && info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "devel"
	}
	if !ok {
		return info
	}
	dirty := ""
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			info.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if info.Revision != "" {
		info.Revision += dirty
	}
	return info
}

// String returns one line for people.
func (i Info) String() string {
	rev := i.Revision
	if rev == "" {
		rev = "unknown revision"
	}
	return fmt.Sprintf("gatewarden %s (%s, %s, %s)", i.Version, rev, i.Go, i.Platform)
}
