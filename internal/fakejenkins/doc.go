// Package fakejenkins is a stand-in for a Jenkins controller: an http.Handler
// with folders, parameterized jobs, a queue, executors and builds, which answers
// what the real one answers, status by status and field by field. The tests of
// the Jenkins executor, the end-to-end tests and the demo run against it; it
// stands at the very end of the flow, where an Action has left the program.
//
// A job's pipeline is a Go function, so the demo's rollback job can really move
// traffic. Everything that takes time takes it from package time, so a server
// inside a testing/synctest bubble lives in virtual time.
//
// The shapes and statuses come from Jenkins' source (core after 2.578); the tests
// of this package hold the stand-in to the samples in testdata. What it leaves
// out: agents and labels other than "no such node", plugins, views, users'
// sessions by form login, and everything that configures a controller.
package fakejenkins
