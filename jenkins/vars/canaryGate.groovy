import gatewarden.Gate
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

// What a build has asked already is in its environment. A field of this file would not do: every script that calls a
// step of a library has an instance of its own.
//
//   GATEWARDEN_ASKED     by canary and key, in the order of their first call
//   GATEWARDEN_ANSWERED  keys that have their answer: the next gate that looks the same is a new question

/**
 * Asks the guard whether a canary may go on, waits for the answer in a workspace, and lets the build follow it.
 * Returns [canary, state, reason, run, overriddenBy, key, exitCode, reports]. See canaryGate.txt.
 */
Map call(Map options = [:]) {
    Map s = settle('canaryGate', options, Gate.COMMON + ['run', 'junit', 'archive', 'reports', 'tool', 'tokenFile'])
    boolean again = Gate.contains(env.GATEWARDEN_ASKED, Gate.question(s))
    if (!env.WORKSPACE) {
        error 'canaryGate: there is no workspace to run the gate in; put it on an agent, or use canaryGateHttp, which needs none'
    }
    if (!isUnix()) {
        error 'canaryGate: needs a Unix agent; canaryGateHttp needs none at all'
    }
    Map result = ask(s)
    if (again && result.cancelled) { // an earlier try was ended, and took its run along: this one has to ask anew
        env.GATEWARDEN_ANSWERED = Gate.added(env.GATEWARDEN_ANSWERED, s.key)
        s.key = Gate.newKey(env.BUILD_TAG, env.STAGE_NAME, s.canary, env.GATEWARDEN_ANSWERED)
        result = ask(s)
    }
    result.remove('cancelled')
    return conclude(s, result)
}

/** Runs the gate, publishes its reports, and returns its result. */
private Map ask(Map s) {
    String folder = folderOf(s)
    int code
    try {
        code = withToken(s, folder)
    } catch (FlowInterruptedException aborted) { // the gate has had its signal, and cancels its run
        describe(s, Gate.answer(s, 'interrupted', '', [:]))
        throw aborted
    }
    Map<String, String> files = Gate.files(folder)
    Map run = fileExists(files['--json']) ? Gate.decode(readFile(file: files['--json'], encoding: 'UTF-8')) : [:]
    if (run.isEmpty()) {
        echo "canaryGate: ${files['--json']} is missing or no run; the exit code ${code} says all there is"
    }
    if (s.junit) {
        junit testResults: files['--junit'], allowEmptyResults: true, skipMarkingBuildUnstable: true
    }
    if (s.archive) {
        archiveArtifacts artifacts: folder + '/*', allowEmptyArchive: true
    }
    return Gate.result(s, code, run) + [reports: folder, cancelled: run.state == 'cancelled' && !s.run && !s.ownKey]
}

/** Runs the gate and returns its exit code; a token is in a file only while it runs. */
private int withToken(Map s, String folder) {
    if (!s.credentialsId) {
        return gate(s, folder, s.tokenFile)
    }
    String file = pwd(tmp: true) + '/gatewarden-' + UUID.randomUUID()
    int code
    withCredentials([string(credentialsId: s.credentialsId, variable: 'GATEWARDEN_TOKEN')]) {
        try {
            sh label: 'token of the guard', script: 'set +x\numask 077\nprintf %s "$GATEWARDEN_TOKEN" > ' + Gate.quote(file)
            code = gate(s, folder, file)
        } finally {
            forget(file)
        }
    }
    return code
}

/** Removes a token's file. Where the agent is gone, what ended the gate is the news, not this. */
private void forget(String file) {
    try {
        sh label: 'token of the guard', returnStatus: true, script: 'rm -f -- ' + Gate.quote(file)
    } catch (Exception lost) {
        echo "canaryGate: ${file} could not be removed: ${lost.message}"
    }
}

private int gate(Map s, String folder, String tokenFile) {
    return sh(label: 'gatewarden gate ' + s.canary, returnStatus: true, script: Gate.script(s, folder, tokenFile))
}

/** The checked options, with the key under which this gate is known. */
Map settle(String step, Map options, List<String> known) {
    Map s = Gate.settings(options, [GATEWARDEN_SERVER: env.GATEWARDEN_SERVER, BUILD_URL: env.BUILD_URL, BUILD_TAG: env.BUILD_TAG, GIT_COMMIT: env.GIT_COMMIT])
    List<String> wrong = Gate.problems(step, options, s, known)
    if (!wrong.isEmpty()) {
        error wrong.join('\n')
    }
    s.ownKey = s.key != null && s.key != ''
    if (!s.ownKey) {
        s.key = Gate.newKey(env.BUILD_TAG, env.STAGE_NAME, s.canary, env.GATEWARDEN_ANSWERED)
    }
    return s
}

/** The folder for the reports: another one for each question about a canary in this build. */
private String folderOf(Map s) {
    String question = Gate.question(s)
    env.GATEWARDEN_ASKED = Gate.added(env.GATEWARDEN_ASKED, question)
    String base = s.reports ?: 'gatewarden/' + Gate.fileName(s.canary)
    int at = Gate.place(env.GATEWARDEN_ASKED, s.canary + '/', question)
    return at == 0 ? base : base + '-' + (at + 1)
}

/** Lets the build follow a result, and returns it. canaryGateHttp ends here, too. */
Map conclude(Map s, Map result) {
    if (result.state != 'error') {
        env.GATEWARDEN_ANSWERED = Gate.added(env.GATEWARDEN_ANSWERED, s.key)
    }
    describe(s, result)
    String line = Gate.line(result)
    String consequence = [pass: 'pass', fail: s.onFail, inconclusive: s.onInconclusive, error: 'fail'][result.state]
    if (consequence == 'fail') {
        error line
    } else if (consequence == 'unstable') {
        unstable line
    } else {
        echo line
    }
    return result
}

/** Adds a line to the build's description. */
void describe(Map s, Map result) {
    if (s.description) {
        currentBuild.description = Gate.described(currentBuild.description, result)
    }
}
