/**
 * Runs its body once for an action of the guard, whatever becomes of answers, restarts and impatient people. Returns
 * whether it ran. See rollbackOnce.txt.
 */
boolean call(Map options = [:], Closure body) {
    String action = options.containsKey('action') ? (options.action ?: '') : (params.GATEWARDEN_ACTION ?: '')
    int back = (options.back ?: 100) as int
    if (!action) {
        body() // a person started it by hand, and wants it now
        return true
    }
    Map earlier = find(action, back)
    if (earlier.running) {
        error "rollbackOnce: build #${earlier.running} is at action ${action} already; let it end. disableConcurrentBuilds() keeps this from happening"
    }
    env.GATEWARDEN_ACTION_AT = action
    boolean run = !earlier.done
    if (run) {
        body()
    } else {
        echo "rollbackOnce: build #${earlier.done} has done action ${action}; nothing to do"
        currentBuild.description = "already done by #${earlier.done}"
    }
    env.GATEWARDEN_ACTION_DONE = action
    return run
}

/** The builds that have done the action, or are at it: what a build sets on env can be asked of it later. */
private Map find(String action, int back) {
    Map found = [:]
    def build = currentBuild.previousBuild
    for (int i = 0; i < back && build != null; i++) {
        Map variables = build.buildVariables
        if (variables.GATEWARDEN_ACTION_DONE == action) {
            return [done: build.number]
        }
        if (variables.GATEWARDEN_ACTION_AT == action && build.result == null) {
            found.running = build.number
        }
        build = build.previousBuild
    }
    return found
}
