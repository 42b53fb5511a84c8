package gatewarden

import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonException
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

import java.time.OffsetDateTime

/**
 * The part of the steps that calls no step: what is asked of the guard, and what its answer means. Everything here
 * is pure and @NonCPS, takes and returns strings, numbers, lists and maps of these, and can be saved with a build.
 */
class Gate implements Serializable {
    private static final long serialVersionUID = 1L

    /** What becomes of the build: as the options onFail and onInconclusive say it. */
    static final List<String> CONSEQUENCES = ['fail', 'unstable', 'pass'].asImmutable()

    static final List<String> COMMON = ['canary', 'server', 'timeout', 'parameters', 'key', 'onFail', 'onInconclusive',
                                        'credentialsId', 'description', 'replace', 'unreachable'].asImmutable()

    /** What each exit code of `gatewarden gate` says; every other code is an error. */
    private static final Map<Integer, String> STATES = [0: 'pass', 2: 'fail', 3: 'inconclusive'].asImmutable()

    /** The options with their defaults filled in; env has what the build's environment says where they are silent. */
    @NonCPS
    static Map settings(Map given, Map env) {
        Map s = [server: env.GATEWARDEN_SERVER, timeout: '', parameters: [:], onFail: 'fail', onInconclusive: 'fail',
                 description: true, junit: true, archive: true, tool: 'gatewarden', webhook: false, replace: false, unreachable: '2m']
        s.poll = given.webhook ? '5m' : '10s' // a webhook can get lost: then this is how long it goes unnoticed
        for (entry in given.entrySet()) {
            if (entry.value != null) {
                s.put(entry.key.toString(), entry.value)
            }
        }
        Map parameters = [:]
        for (name in ['BUILD_URL', 'BUILD_TAG', 'GIT_COMMIT']) {
            if (env[name]) {
                parameters.put(name, env[name].toString())
            }
        }
        if (s.parameters instanceof Map) {
            for (entry in ((Map) s.parameters).entrySet()) {
                if (entry.value != null) {
                    parameters.put(entry.key.toString(), entry.value.toString())
                }
            }
            s.parameters = parameters
        }
        for (name in ['canary', 'server', 'timeout', 'key', 'run', 'tool', 'reports', 'tokenFile', 'credentialsId', 'authentication', 'poll', 'unreachable']) {
            if (s[name] != null) {
                s.put(name, s[name].toString()) // a GString is not what it looks like once it is compared or saved
            }
        }
        return s
    }

    /** Everything that is wrong with the options, each with the way out; empty when they are fine. */
    @NonCPS
    static List<String> problems(String step, Map given, Map s, List<String> known) {
        List<String> all = []
        for (name in given.keySet()) {
            if (!known.contains(name.toString())) {
                all.add("${step}: unknown option '${name}'; there are: ${known.join(', ')}".toString())
            }
        }
        if (!s.canary || s.canary.startsWith('-')) {
            all.add("${step}: canary is missing; give the name that it has in the guard's rules: canary: 'orders'".toString())
        }
        if (!s.server || !s.server.matches('https?://[^/\\s]+.*')) {
            all.add("${step}: server is missing or no URL: give server: 'http://gatewarden:8080', or set GATEWARDEN_SERVER for the job or the controller".toString())
        }
        for (name in ['timeout', 'poll', 'unreachable']) {
            if (s[name] && millis(s[name].toString()) <= 0) {
                all.add("${step}: ${name} '${s[name]}' is no duration; write it as 90s, 15m or 1h30m".toString())
            }
        }
        for (name in ['onFail', 'onInconclusive']) {
            if (!CONSEQUENCES.contains(s[name].toString())) {
                all.add("${step}: ${name} '${s[name]}' is none of ${CONSEQUENCES.join(', ')}".toString())
            }
        }
        if (!(s.parameters instanceof Map)) {
            all.add("${step}: parameters is no map; write parameters: [version: 'v2']".toString())
        } else {
            for (name in s.parameters.keySet()) {
                if (name.isEmpty() || name.contains('=')) {
                    all.add("${step}: the parameter name '${name}' is empty or has an equals sign".toString())
                }
            }
        }
        if (s.credentialsId && s.tokenFile) {
            all.add("${step}: credentialsId and tokenFile both name a token; give one".toString())
        }
        if (s.credentialsId && s.authentication) {
            all.add("${step}: credentialsId and authentication are two ways to log in; give one".toString())
        }
        return all
    }

    /** A duration as Go writes it, in milliseconds; 0 when it is none. */
    @NonCPS
    static long millis(String text) {
        Map<String, Long> units = [ms: 1L, s: 1000L, m: 60000L, h: 3600000L]
        if (text == null || !text.matches('([0-9]{1,6}(ms|s|m|h))+')) {
            return 0L
        }
        long sum = 0L
        for (part in text.split('(?<=[a-z])(?=[0-9])')) {
            String digits = part.replaceAll('[a-z]', '')
            sum += Long.parseLong(digits) * units[part.substring(digits.length())]
        }
        return sum
    }

    /**
     * How long a pipeline waits for a run, in milliseconds: as long as it says itself, else until the run's own deadline
     * and a minute more; an hour for a run that has none.
     */
    @NonCPS
    static long patience(Map s, Map run) {
        if (s.timeout) {
            return millis(s.timeout)
        }
        if (!run.deadline || !run.started_at) {
            return 3600000L
        }
        return OffsetDateTime.parse(run.deadline).toEpochSecond() * 1000L - OffsetDateTime.parse(run.started_at).toEpochSecond() * 1000L + 60000L
    }

    /**
     * The key under which the guard finds the same run again when the same stage of the same build asks once more. One
     * that is answered already is not used again: a second gate of a stage is a question of its own.
     */
    @NonCPS
    static String newKey(String tag, String stage, String canary, String answered) {
        String first = [tag ?: 'no-build', stage ?: 'no-stage', canary].join('/')
        String key = first
        for (int n = 2; contains(answered, key); n++) {
            key = first + '#' + n
        }
        return key
    }

    /** What a gate asks, by which its folder for reports is found again. */
    @NonCPS
    static String question(Map s) {
        return s.canary + '/' + (s.run ?: s.key)
    }

    // Lists of keys are kept in the build's environment, as words with blanks between them.

    /** The list with one more key, once. */
    @NonCPS
    static String added(String list, String key) {
        if (contains(list, key)) {
            return list
        }
        return list ? list + ' ' + segment(key) : segment(key)
    }

    @NonCPS
    static boolean contains(String list, String key) {
        return list != null && list.split(' ').contains(segment(key))
    }

    /** How many keys with the prefix come before the key. */
    @NonCPS
    static int place(String list, String prefix, String key) {
        int before = 0
        for (word in list.split(' ')) {
            if (word == segment(key)) {
                return before
            }
            if (word.startsWith(segment(prefix))) {
                before++
            }
        }
        return before
    }

    /** A word of a POSIX shell that stands for exactly this text. */
    @NonCPS
    static String quote(String text) {
        return "'" + text.replace("'", "'\\''") + "'"
    }

    /** The files that a gate writes into its folder, by the flag that asks for them. */
    @NonCPS
    static Map<String, String> files(String folder) {
        return ['--junit': folder + '/junit.xml', '--json': folder + '/run.json', '--markdown': folder + '/report.md', '--html': folder + '/report.html']
    }

    /**
     * The script of one gate. What an earlier build left in the folder goes first: an old report must not be taken for
     * this one's. By exec the gate itself gets the signal that ends it, and cancels its run at the guard.
     */
    @NonCPS
    static String script(Map s, String folder, String tokenFile) {
        List<String> words = [s.tool, 'gate', s.canary, '--server', s.server, '--unreachable', s.unreachable]
        if (s.timeout) {
            words.addAll(['--timeout', s.timeout])
        }
        if (s.run) {
            words.addAll(['--run', s.run])
        } else {
            words.addAll(['--key', s.key])
            if (s.replace) {
                words.add('--replace')
            }
            for (entry in s.parameters.entrySet()) {
                words.addAll(['--param', entry.key + '=' + entry.value])
            }
        }
        Map<String, String> files = files(folder)
        List<String> old = []
        for (entry in files.entrySet()) {
            words.addAll([entry.key, entry.value])
            old.add(quote(entry.value))
        }
        if (tokenFile) {
            words.addAll(['--token-file', tokenFile])
        }
        List<String> quoted = []
        for (word in words) {
            quoted.add(quote(word.toString()))
        }
        return 'mkdir -p -- ' + quote(folder) + ' && rm -f -- ' + old.join(' ') + ' || exit 1\nexec ' + quoted.join(' ') + '\n'
    }

    /** A name as part of a path: everything but letters, digits, dots, dashes and underscores becomes a dash. */
    @NonCPS
    static String fileName(String text) {
        return text.replaceAll('[^A-Za-z0-9._-]', '-').replaceAll('^\\.+', '')
    }

    /** What a run's JSON says that a pipeline needs, as plain strings; empty when it is no run. */
    @NonCPS
    static Map<String, String> decode(String text) {
        Map<String, String> run = [:]
        Object parsed
        try {
            parsed = new JsonSlurper().parseText(text)
        } catch (JsonException | IllegalArgumentException ignored) { // empty, cut off, or another program's
            return run
        }
        if (!(parsed instanceof Map)) {
            return run
        }
        for (name in ['id', 'state', 'reason', 'started_at', 'deadline']) {
            if (parsed[name] instanceof String) {
                run.put(name, parsed[name].toString())
            }
        }
        if (parsed.override instanceof Map && parsed.override.by) {
            run.put('overriddenBy', parsed.override.by.toString())
        }
        return run
    }

    /**
     * The result of a gate that ended with this exit code and left this run behind. The code decides; a report that
     * contradicts a pass makes it an error.
     */
    @NonCPS
    static Map result(Map s, int code, Map run) {
        String state = STATES[code] ?: 'error'
        String reason = run.reason ?: ''
        if (state == 'error') {
            reason = run.state == 'error' && reason ? reason : why(code, s.tool)
        } else if (state == 'pass' && (run.state == 'fail' || run.state == 'cancelled')) {
            state = 'error'
            reason = "the gate's exit code says pass, and its report says ${run.state}".toString()
        }
        return answer(s, state, reason, run) + [exitCode: code]
    }

    /** The result of a run that is over, as the guard's API has it. One that somebody cancelled has no verdict. */
    @NonCPS
    static Map ended(Map s, Map run) {
        if (STATES.containsValue(run.state)) {
            return answer(s, run.state, run.reason ?: '', run)
        }
        String state = run.state == 'cancelled' ? 'inconclusive' : 'error'
        String reason = run.reason ? ": ${run.reason}" : ''
        return answer(s, state, "the run is ${run.state}${reason}".toString(), run)
    }

    /** The map that a step returns. */
    @NonCPS
    static Map answer(Map s, String state, String reason, Map run) {
        return [canary: s.canary, state: state, reason: reason, run: run.id ?: '', overriddenBy: run.overriddenBy ?: '', key: s.key ?: '']
    }

    @NonCPS
    private static String why(int code, String tool) {
        if (code == 126 || code == 127) {
            return "the agent has no program '${tool}' that can be run; install gatewarden there, or say where it is: tool: '/opt/bin/gatewarden'".toString()
        }
        if (code < 0 || code > 128) {
            return "the gate was ended from outside (code ${code}): the agent was lost, or somebody killed it".toString()
        }
        return "the guard gave no verdict (code ${code}); the console says why".toString()
    }

    /** One line about a result, for people. */
    @NonCPS
    static String line(Map result) {
        String text = "canary ${result.canary}: ${result.state}".toString()
        if (result.overriddenBy) {
            text += ', decided by ' + result.overriddenBy
        }
        if (result.reason) {
            text += ': ' + result.reason
        }
        return result.run ? text + ' (run ' + result.run + ')' : text
    }

    /** The build's description with the line of one more gate. */
    @NonCPS
    static String described(String before, Map result) {
        String text = "canary ${result.canary}: ${result.state}".toString()
        if (result.overriddenBy) {
            text += ' by ' + result.overriddenBy
        }
        return before ? before + '; ' + text : text
    }

    /** The body of the request that starts a run. */
    @NonCPS
    static String startBody(Map s, String by, String callback, String secret) {
        Map body = [key: s.key, parameters: s.parameters, by: by]
        if (s.replace) {
            body.put('replace', true)
        }
        if (callback) {
            body.put('callback', [url: callback, authorization: secret])
        }
        return JsonOutput.toJson(body)
    }

    /** The body of a person's decision. */
    @NonCPS
    static String decisionBody(Map options) {
        return JsonOutput.toJson([state: options.state.toString(), by: options.by.toString(), reason: options.reason.toString()])
    }

    /** The body of a request that only says who and why. */
    @NonCPS
    static String whyBody(String by, String reason) {
        return JsonOutput.toJson([by: by, reason: reason])
    }

    /** A name as one segment of a URL's path. */
    @NonCPS
    static String segment(String name) {
        return URLEncoder.encode(name, 'UTF-8').replace('+', '%20')
    }

    /**
     * Why the guard refuses a request for good; "" when asking again may help. The http_request plugin answers 404 for
     * a host that it does not know and 408 for a connection that fails, so a 404 counts only in the guard's own words.
     */
    @NonCPS
    static String refused(Map answer) {
        String words = refusal(answer.content)
        if (answer.status == 401 || answer.status == 403) {
            return "${answer.status} ${words ?: 'the guard, or a proxy before it, wants other credentials'}".toString()
        }
        boolean mayPass = answer.status < 400 || answer.status >= 500 || answer.status == 408 || answer.status == 429
        return mayPass || !words ? '' : "${answer.status} ${words}".toString()
    }

    /** What an error of the guard's says; "" when the text is not the guard's. */
    @NonCPS
    private static String refusal(String text) {
        try {
            Object parsed = new JsonSlurper().parseText(text ?: '')
            if (parsed instanceof Map && parsed.error) {
                return parsed.error instanceof Map ? [parsed.error.message, parsed.error.hint].findAll { it }.join('; ') : parsed.error.toString()
            }
        } catch (JsonException | IllegalArgumentException ignored) { // a proxy's page
            return ''
        }
        return ''
    }
}
