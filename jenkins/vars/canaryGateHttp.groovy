import gatewarden.Gate
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * Asks the guard whether a canary may go on, over HTTP, and holds no executor while it waits: call it outside of node.
 * Returns [canary, state, reason, run, overriddenBy, key]. See canaryGateHttp.txt.
 */
Map call(Map options = [:]) {
    Map s = canaryGate.settle('canaryGateHttp', options, Gate.COMMON + ['poll', 'webhook', 'authentication'])
    long began = currentBuild.duration // the build's own clock goes on while the controller is down
    String id = ''
    Map run
    try {
        String secret = s.webhook ? UUID.randomUUID().toString() : ''
        def hook = s.webhook ? registerWebhook(authToken: secret) : null
        run = start(s, hook?.url, secret)
        if (run.state == 'cancelled' && !s.ownKey) { // an earlier try was ended, and took its run along: this one has to ask anew
            env.GATEWARDEN_ANSWERED = Gate.added(env.GATEWARDEN_ANSWERED, s.key)
            s.key = Gate.newKey(env.BUILD_TAG, env.STAGE_NAME, s.canary, env.GATEWARDEN_ANSWERED)
            run = start(s, hook?.url, secret)
        }
        id = run.id
        long until = began + Gate.patience(s, run)
        while (run.state == 'running' && currentBuild.duration < until) {
            rest(s, hook, until - currentBuild.duration)
            run = request(s, 'GET', '/api/v1/runs/' + Gate.segment(id), '')
        }
        if (run.state == 'running') {
            run = expire(s, id)
        }
    } catch (FlowInterruptedException aborted) {
        cancel(s, id, 'the build was aborted')
        canaryGate.describe(s, Gate.answer(s, 'interrupted', '', [id: id]))
        throw aborted
    }
    return canaryGate.conclude(s, Gate.ended(s, run))
}

/** Starts the run, or finds it again: with the same key asking twice is asking once. */
private Map start(Map s, String callback, String secret) {
    return request(s, 'POST', '/api/v1/canaries/' + Gate.segment(s.canary) + '/runs', Gate.startBody(s, by(), callback, secret))
}

/** Waits a while. A webhook only wakes the build up: what counts is what the guard answers afterwards. */
private void rest(Map s, def hook, long left) {
    long seconds = Math.max(1L, (Math.min(Gate.millis(s.poll), left) + 999L).intdiv(1000L))
    if (hook == null) {
        sleep time: seconds, unit: 'SECONDS'
        return
    }
    try {
        timeout(time: seconds, unit: 'SECONDS') {
            waitForWebhook hook
        }
    } catch (FlowInterruptedException stopped) {
        if (stopped.actualInterruption) { // a person, or a timeout further out
            throw stopped
        }
    }
}

/** Asks until the guard answers with a run. One that stays away is an error, never a pass. canaryOverride asks so, too. */
Map request(Map s, String mode, String path, String body) {
    long began = currentBuild.duration
    while (true) {
        Map answer = ask(s, mode, path, body)
        Map run = answer.status == 200 || answer.status == 201 ? Gate.decode(answer.content) : [:]
        if (run.id && run.state) {
            return run
        }
        String refused = Gate.refused(answer)
        if (refused) {
            error "gatewarden: ${mode} ${s.server}${path}: ${refused}"
        }
        if (currentBuild.duration - began >= Gate.millis(s.unreachable)) {
            error "gatewarden: no answer of a guard at ${s.server} for ${s.unreachable} (the last was ${answer.status}); is it running, and is the address right as seen from Jenkins?"
        }
        sleep time: 5, unit: 'SECONDS'
    }
}

/** One request; what goes wrong on the way is status 0. */
private Map ask(Map s, String mode, String path, String body) {
    if (!s.credentialsId) {
        return send(s, mode, path, body, [])
    }
    Map answer
    withCredentials([string(credentialsId: s.credentialsId, variable: 'GATEWARDEN_TOKEN')]) {
        answer = send(s, mode, path, body, [[name: 'Authorization', value: 'Bearer ' + env.GATEWARDEN_TOKEN, maskValue: true]])
    }
    return answer
}

private Map send(Map s, String mode, String path, String body, List headers) {
    Map request = [url: s.server.replaceAll('/+$', '') + path, httpMode: mode, acceptType: 'APPLICATION_JSON', customHeaders: headers,
                   timeout: 30, validResponseCodes: '100:599', quiet: true, consoleLogResponseBody: false]
    if (body) {
        request.contentType = 'APPLICATION_JSON'
        request.requestBody = body
    }
    if (s.authentication) {
        request.authentication = s.authentication
    }
    try {
        def answer = httpRequest(request)
        return [status: answer.status, content: answer.content]
    } catch (FlowInterruptedException aborted) {
        throw aborted
    } catch (Exception failed) { // no connection, or the controller was restarted in between
        return [status: 0, content: '']
    }
}

/** Ends a run that had its time; a verdict that was faster than this counts. */
private Map expire(Map s, String id) {
    String why = s.timeout ? "no verdict within ${s.timeout}" : 'no verdict a minute after the deadline'
    Map run = cancel(s, id, why)
    return run.state in ['pass', 'fail', 'inconclusive'] ? run : [id: id, state: 'inconclusive', reason: why]
}

/** Cancels the run, once: if that does not reach the guard, the run ends at its own deadline. */
private Map cancel(Map s, String id, String reason) {
    if (!id) {
        return [:]
    }
    return Gate.decode(ask(s, 'POST', '/api/v1/runs/' + Gate.segment(id) + '/cancel', Gate.whyBody(by(), reason)).content)
}

private String by() {
    return env.BUILD_TAG ?: 'jenkins'
}
