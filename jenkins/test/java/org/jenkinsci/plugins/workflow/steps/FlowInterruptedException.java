package org.jenkinsci.plugins.workflow.steps;

/** Stands in for Jenkins' exception of this name: a step that was stopped, by a person or by a timeout around it. */
public final class FlowInterruptedException extends InterruptedException {
    private static final long serialVersionUID = 1L;

    private final int timeout;
    private boolean actualInterruption = true;

    /** timeout is the number of the block that ran out of time, 0 when a person aborted the build. */
    public FlowInterruptedException(int timeout) {
        super(timeout == 0 ? "Aborted by admin" : "Timeout has been exceeded");
        this.timeout = timeout;
    }

    public int getTimeout() {
        return timeout;
    }

    public boolean isActualInterruption() {
        return actualInterruption;
    }

    public void setActualInterruption(boolean actualInterruption) {
        this.actualInterruption = actualInterruption;
    }
}
