// Package chaos is what goes wrong around a guard, and what must hold all the same.
//
// A Plan says, from a seed, what happens when: the guard is killed, stopped, paused, its
// clock is set; Kong and Jenkins answer late, wrongly or never; somebody else changes
// the gateway. A Proxy stands between the guard and each of its peers, spoils requests
// and answers as the plan has it, and remembers the calls. Gateway reads by Kong's Admin
// API what the gateway holds, and says what it should hold. Audit holds the journal and
// the calls against what the guard promises.
//
// Nothing here knows whether its Kong is real: faults lie in the proxy, and what is
// looked at is the Admin API and the guard's own. The test that joins all this with the
// real program is TestChaos in cmd/gatewarden; docs/chaos.md tells how to run it.
package chaos
