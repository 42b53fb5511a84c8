package fakejenkins

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
)

// Permission is a permission of Jenkins, by its id.
type Permission string

// The permissions that the served pages ask for.
const (
	OverallRead Permission = "hudson.model.Hudson.Read"
	JobRead     Permission = "hudson.model.Item.Read"
	JobDiscover Permission = "hudson.model.Item.Discover"
	JobBuild    Permission = "hudson.model.Item.Build"
	JobCancel   Permission = "hudson.model.Item.Cancel"
)

// Operator is what a guard's user needs.
func Operator() []Permission { return []Permission{OverallRead, JobRead, JobBuild, JobCancel} }

// User may log in with the password or with any of the API tokens.
type User struct {
	Name        string
	Password    string
	Tokens      []string
	Permissions []Permission
}

// user is who sent a request.
type user struct {
	name    string // "" is anonymous
	token   bool   // logged in by an API token, which needs no crumb
	all     bool   // security is off
	granted []Permission
}

func (u user) can(p Permission) bool { return u.all || slices.Contains(u.granted, p) }

func (u user) displayName() string {
	if u.name == "" {
		return "anonymous"
	}
	return u.name
}

// authenticate finds out who is there. A wrong Basic header is a 401 even where
// anonymous may read; no header at all is a 403 with the login page.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (user, bool) {
	if len(s.cfg.Users) == 0 {
		return user{all: true}, true
	}
	name, secret, given := r.BasicAuth()
	if !given {
		if s.cfg.AnonymousRead {
			return user{granted: []Permission{OverallRead, JobRead}}, true
		}
		if r.URL.Path == s.cfg.ContextPath+"/login" {
			return user{}, true
		}
		page(w, http.StatusForbidden, "<meta http-equiv='refresh' content='1;url=/login?from=%2F'/>Authentication required")
		return user{}, false
	}
	for _, u := range s.cfg.Users {
		if u.Name != name {
			continue
		}
		if slices.Contains(u.Tokens, secret) {
			return user{name: name, token: true, granted: u.Permissions}, true
		}
		if u.Password != "" && u.Password == secret {
			return user{name: name, granted: u.Permissions}, true
		}
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="Jenkins"`)
	page(w, http.StatusUnauthorized, "Invalid password/token for user: "+name)
	return user{}, false
}

const sessionCookie = "JSESSIONID.0f1e2d3c"

// crumbFor is what makes a crumb worthless in another session: it is a digest of
// the user and the session.
func crumbFor(name, session string) string {
	sum := sha256.Sum256([]byte(name + ";" + session))
	return hex.EncodeToString(sum[:])
}

func (s *Server) serveCrumb(w http.ResponseWriter, r *http.Request, who user) {
	if len(s.cfg.Users) == 0 {
		notFound(w, r) // no issuer
		return
	}
	session := ""
	if c, err := r.Cookie(sessionCookie); err == nil && s.sessions[c.Value] == who.name {
		session = c.Value
	}
	if session == "" {
		session = "node0" + randomHex(12)
		s.sessions[session] = who.name
		http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: session, Path: s.cfg.ContextPath + "/", HttpOnly: true})
	}
	export(w, r, object{
		"_class": "hudson.security.csrf.DefaultCrumbIssuer", "crumb": crumbFor(who.name, session), "crumbRequestField": "Jenkins-Crumb",
	}, "")
}

func (s *Server) crumbValid(r *http.Request, who user) bool {
	if who.all || who.token {
		return true
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	name, known := s.sessions[c.Value]
	return known && name == who.name && r.Header.Get("Jenkins-Crumb") == crumbFor(name, c.Value)
}

// EndSessions forgets all sessions, so that the crumbs handed out are stale.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = map[string]string{}
}
