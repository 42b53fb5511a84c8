import gatewarden.Gate

/**
 * Tells the guard what a person decided about a canary's run while it runs, over HTTP and without an executor. Whoever
 * waits for the run gets that answer. Returns [canary, run, state]. See canaryOverride.txt.
 */
Map call(Map options) {
    List<String> known = ['canary', 'state', 'by', 'reason', 'run', 'server', 'credentialsId', 'authentication', 'unreachable']
    Map s = Gate.settings(options, [GATEWARDEN_SERVER: env.GATEWARDEN_SERVER])
    List<String> wrong = Gate.problems('canaryOverride', options, s, known)
    if (!(options.state in ['pass', 'fail']) || !options.by || !options.reason) {
        wrong.add("canaryOverride: state is 'pass' or 'fail', and by and reason say who wants it and why; the guard keeps them with the run")
    }
    if (!wrong.isEmpty()) {
        error wrong.join('\n')
    }
    String run = s.run ?: canaryGateHttp.request(s, 'GET', '/api/v1/canaries/' + Gate.segment(s.canary) + '/runs/latest', '').id
    Map now = canaryGateHttp.request(s, 'POST', '/api/v1/runs/' + Gate.segment(run) + '/override', Gate.decisionBody(options))
    echo "canary ${s.canary}: ${options.by} decided ${options.state}: ${options.reason} (run ${run})"
    return [canary: s.canary, run: run, state: now.state]
}
