package actions

// The failpoints, in the order of an action's life.
const (
	failPlanned        = "planned"         // decided, nothing done yet
	failPrepared       = "prepared"        // the outside was looked at, the journal knows nothing
	failStarted        = "started"         // the intent is in the journal, nothing was called
	failSaved          = "saved"           // within the call: a newer memo is in the journal
	failCalled         = "called"          // the call is over, the journal does not know
	failApplied        = "applied"         // the outcome is in the journal
	failRevertPlanned  = "revert_planned"  // decided to revert
	failReverting      = "reverting"       // the intent to revert is in the journal, nothing was called
	failRevertCalled   = "revert_called"   // the call is over, the journal does not know
	failReverted       = "reverted"        // the outcome is in the journal, the lease is still there
	failLeaseDeleted   = "lease_deleted"   // the lease is gone
	failLadderFinished = "ladder_finished" // all is put back, the journal does not know that the ladder has ended
)

// Failpoints lists the names that Config.Failpoint is called with, in the order of
// an action's life.
func Failpoints() []string {
	return []string{
		failPlanned, failPrepared, failStarted, failSaved, failCalled, failApplied,
		failRevertPlanned, failReverting, failRevertCalled, failReverted, failLeaseDeleted, failLadderFinished,
	}
}

// What is passed besides when an adaptive limit goes elsewhere.
const (
	failLimitDecided = "limit_decided" // the intent is in the journal, nothing was called
	failLimitCalled  = "limit_called"  // the call is over
)

// LimitFailpoints lists the names that Config.Failpoint is called with besides when an
// adaptive limit goes elsewhere.
func LimitFailpoints() []string { return []string{failLimitDecided, failLimitCalled} }

func (e *Engine) failpoint(name string) {
	if e.cfg.Failpoint != nil {
		e.cfg.Failpoint(name)
	}
}
