package gatewarden.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** canaryGateHttp, with a guard and a clock that stand in. */
class CanaryGateHttpTest {
    @TempDir
    Path dir;

    Build build;
    FakeGuard guard;

    @BeforeEach
    void start() throws Exception {
        build = new Build(dir);
        guard = new FakeGuard(build);
        build.steps.guard = guard;
        build.environment.put("GATEWARDEN_SERVER", "http://gatewarden:8080/");
    }

    Map<?, ?> gate(String options) throws Throwable {
        return (Map<?, ?>) build.run("def r\nstage('Canary') { r = canaryGateHttp(" + options + ") }\nreturn r");
    }

    @Test
    @DisplayName("it starts a run, asks until it is over, and holds no executor meanwhile")
    void poll() throws Throwable {
        Map<?, ?> r = gate("canary: 'orders', parameters: [version: 'v2']");
        assertEquals(Map.of("canary", "orders", "state", "pass", "reason", "because", "run", "run-1", "overriddenBy", "", "key",
                "jenkins-shop-orders-17/Canary/orders"), r);
        assertEquals(Map.of("key", "jenkins-shop-orders-17/Canary/orders", "by", "jenkins-shop-orders-17", "parameters",
                Map.of("version", "v2", "BUILD_TAG", "jenkins-shop-orders-17", "BUILD_URL", "http://jenkins:8080/job/shop/job/orders/17/")), guard.bodies.get(0));
        assertEquals(7, build.steps.done("sleep").size(), "65 s, ten at a time");
        assertEquals(List.of(), build.steps.heldWhileWaiting);
        assertEquals("canary orders: pass", build.description);
    }

    @Test
    @DisplayName("a webhook wakes the build up at once, and what counts is what the guard answers then")
    void webhook() throws Throwable {
        build.steps.hookAt = 65_000;
        Map<?, ?> r = gate("canary: 'orders', webhook: true");
        assertEquals("pass", r.get("state"));
        assertEquals(65_100, build.clock);
        assertEquals(2, guard.requests.size(), "the start, and the look afterwards");
        Map<?, ?> callback = (Map<?, ?>) guard.bodies.get(0).get("callback");
        assertEquals("http://jenkins:8080/webhook-step/c0ffee", callback.get("url"));
        assertEquals(build.steps.done("registerWebhook").get(0).get("authToken"), callback.get("authorization"));
        assertEquals(36, callback.get("authorization").toString().length());
    }

    @Test
    @DisplayName("a webhook that somebody else called changes nothing")
    void forged() throws Throwable {
        build.steps.hookAt = 10_000;
        guard.verdict = "fail";
        assertThrows(IOException.class, () -> gate("canary: 'orders', webhook: true"));
        assertEquals("FAILURE", build.result());
        assertTrue(build.clock >= 65_000);
    }

    @Test
    @DisplayName("a webhook that got lost is made up for by a look every few minutes")
    void lost() throws Throwable {
        Map<?, ?> r = gate("canary: 'orders', webhook: true");
        assertEquals("pass", r.get("state"));
        assertEquals(1, build.steps.done("waitForWebhook").size());
        assertTrue(build.clock > 300_000 && build.clock < 301_000, "at " + build.clock);
    }

    @ParameterizedTest(name = "a run that ends {0}: the build is {1}, {2}")
    @CsvSource({
        "fail,         FAILURE,  canary orders: fail: because (run run-1)",
        "inconclusive, FAILURE,  canary orders: inconclusive: because (run run-1)",
        "cancelled,    FAILURE,  canary orders: inconclusive: the run is cancelled: because (run run-1)",
    })
    void verdicts(String verdict, String result, String said) {
        guard.verdict = verdict;
        assertEquals(said, assertThrows(IOException.class, () -> gate("canary: 'orders'")).getMessage());
        assertEquals(result, build.result());
    }

    @ParameterizedTest(name = "no verdict in time, webhook {0}: the run is cancelled, the answer inconclusive")
    @ValueSource(booleans = {false, true})
    void expired(boolean webhook) throws Throwable {
        guard.endsAt = Long.MAX_VALUE;
        Map<?, ?> r = gate("canary: 'orders', timeout: '3m', onInconclusive: 'unstable', webhook: " + webhook);
        assertEquals("inconclusive", r.get("state"));
        assertEquals("no verdict within 3m", r.get("reason"));
        assertTrue(guard.cancelled());
        assertTrue(build.clock >= 180_000 && build.clock < 185_000, "at " + build.clock);
        assertEquals("UNSTABLE", build.result());
    }

    @Test
    @DisplayName("without a timeout of its own it waits until the run's deadline, and a minute more")
    void deadline() throws Throwable {
        guard.endsAt = Long.MAX_VALUE;
        Map<?, ?> r = gate("canary: 'orders', poll: '5m', onInconclusive: 'pass'");
        assertEquals("no verdict a minute after the deadline", r.get("reason"));
        assertTrue(build.clock >= 1_860_000 && build.clock < 1_865_000, "at " + build.clock);
    }

    @Test
    @DisplayName("a verdict that comes while the run is being cancelled counts")
    void lastMoment() throws Throwable {
        guard.endsAt = 60_050;
        Map<?, ?> r = gate("canary: 'orders', timeout: '1m', poll: '1m'");
        assertEquals("pass", r.get("state"));
        assertFalse(guard.cancelled());
    }

    @Test
    @DisplayName("a guard that goes away for a while, or answers through a proxy that lost it, is asked again")
    void flaky() throws Throwable {
        guard.instead.put(1, new Steps.Response(408, "ConnectException as 408 Request Timeout"));
        guard.instead.put(2, new Steps.Response(404, "UnknownHostException as 404 Not Found"));
        guard.broken.add(3);
        guard.instead.put(4, new Steps.Response(200, "<html>please log in</html>"));
        guard.instead.put(5, new Steps.Response(503, "{\"error\":{\"code\":\"unavailable\",\"message\":\"starting\"}}"));
        guard.broken.add(8);
        assertEquals("pass", gate("canary: 'orders'").get("state"));
        assertEquals(1, guard.runs());
    }

    @Test
    @DisplayName("a start whose answer was lost is found again by its key")
    void lostAnswer() throws Throwable {
        FakeGuard real = guard;
        boolean[] lost = {false};
        build.steps.guard = request -> {
            Steps.Response answer = real.apply(request);
            if (!lost[0]) {
                lost[0] = true;
                throw new IllegalStateException("java.net.SocketException: Connection reset");
            }
            return answer;
        };
        assertEquals("pass", gate("canary: 'orders'").get("state"));
        assertEquals(1, guard.runs());
        assertEquals(2, guard.bodies.size());
    }

    @Test
    @DisplayName("a guard that stays away is an error, never a pass")
    void unreachable() {
        build.steps.guard = request -> new Steps.Response(408, "ConnectException as 408 Request Timeout");
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders', unreachable: '1m', onFail: 'pass', onInconclusive: 'pass'"));
        assertTrue(e.getMessage().contains("no answer of a guard at http://gatewarden:8080/ for 1m (the last was 408)"), e.getMessage());
        assertEquals("FAILURE", build.result());
        assertTrue(build.clock >= 60_000 && build.clock < 70_000, "at " + build.clock);
    }

    @ParameterizedTest(name = "{0} {1} is final: {2}")
    @CsvSource(delimiter = '|', value = {
        "401 | no                                                                                     | 401 the guard, or a proxy before it, wants other credentials",
        "404 | {\"error\":{\"code\":\"not_found\",\"message\":\"no canary orders\",\"hint\":\"see canary\"}} | 404 no canary orders; see canary",
        "409 | {\"error\":{\"code\":\"conflict\",\"message\":\"another key\"}}                                | 409 another key",
    })
    void refused(int status, String body, String said) {
        guard.instead.put(1, new Steps.Response(status, body));
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders'"));
        assertTrue(e.getMessage().endsWith(said), e.getMessage());
        assertEquals(1, guard.requests.size());
    }

    @ParameterizedTest(name = "an abort in {0} cancels the run, and the build stays aborted")
    @ValueSource(strings = {"sleep", "waitForWebhook"})
    void abort(String step) {
        build.steps.abortIn = call -> call.name().equals(step);
        assertThrows(FlowInterruptedException.class, () -> gate("canary: 'orders', webhook: " + step.equals("waitForWebhook")));
        assertTrue(guard.cancelled());
        assertEquals(Map.of("by", "jenkins-shop-orders-17", "reason", "the build was aborted"), guard.bodies.get(1));
        assertEquals("ABORTED", build.result());
        assertEquals("canary orders: interrupted", build.description);
    }

    @Test
    @DisplayName("a timeout around the step ends it, also while it waits for a webhook")
    void timeoutAround() {
        guard.endsAt = Long.MAX_VALUE;
        assertThrows(FlowInterruptedException.class,
                () -> build.run("timeout(time: 2, unit: 'MINUTES') { canaryGateHttp(canary: 'orders', webhook: true, timeout: '1h') }"));
        assertTrue(guard.cancelled());
        assertTrue(build.clock >= 120_000 && build.clock < 121_000, "at " + build.clock);
    }

    @Test
    @DisplayName("a token goes along as a header that is masked, a user as http_request takes it")
    void credentials() throws Throwable {
        build.steps.secrets.put("guard", "s3cret");
        gate("canary: 'orders', credentialsId: 'guard'");
        assertEquals(List.of(Map.of("name", "Authorization", "value", "Bearer s3cret", "maskValue", true)), guard.requests.get(0).get("customHeaders"));
        gate("canary: 'orders', authentication: 'ann'");
        Map<String, Object> last = guard.requests.get(guard.requests.size() - 1);
        assertEquals("ann", last.get("authentication"));
        assertEquals(List.of(), last.get("customHeaders"));
    }

    @Test
    @DisplayName("a key that has its answer is not asked about again by either step")
    void keys() throws Throwable {
        gate("canary: 'orders'");
        assertEquals("jenkins-shop-orders-17/Canary/orders#2", gate("canary: 'orders'").get("key"));
    }

    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource(delimiter = '|', value = {
        "canary: 'orders', poll: 'often'                           | poll 'often' is no duration",
        "canary: 'orders', junit: true                             | unknown option 'junit'",
        "canary: 'orders', credentialsId: 'a', authentication: 'b' | two ways to log in",
    })
    void wrong(String options, String said) {
        Throwable e = assertThrows(IOException.class, () -> gate(options));
        assertTrue(e.getMessage().contains(said), e.getMessage());
        assertEquals(List.of(), guard.requests);
    }

    @Test
    @DisplayName("a run that an earlier try took along is not taken for an answer")
    void cancelledBefore() throws Throwable {
        guard.cancelledKey = "jenkins-shop-orders-17/Canary/orders";
        Map<?, ?> r = gate("canary: 'orders', replace: true");
        assertEquals("pass", r.get("state"));
        assertEquals("jenkins-shop-orders-17/Canary/orders#2", r.get("key"));
        assertEquals(true, guard.bodies.get(1).get("replace"));
    }

    @Test
    @DisplayName("canaryOverride: a decision needs a state, a name and a reason, and a run that is not over")
    void override() throws Throwable {
        for (String options : List.of("by: 'ann', reason: 'x'", "state: 'inconclusive', by: 'ann', reason: 'x'", "state: 'pass', by: '', reason: 'x'")) {
            Throwable e = assertThrows(IOException.class, () -> build.run("canaryOverride(canary: 'orders', " + options + ")"));
            assertTrue(e.getMessage().contains("by and reason say who"), e.getMessage());
        }
        assertEquals(List.of(), guard.requests);
        build.run("canaryOverride(canary: 'orders', run: 'run-1', state: 'fail', by: 'ann', reason: 'x')");
        assertEquals(1, guard.requests.size());
        Throwable e = assertThrows(IOException.class, () -> build.run("canaryOverride(canary: 'orders', state: 'pass', by: 'bob', reason: 'x')"));
        assertTrue(e.getMessage().endsWith("409 run-1 is over"), e.getMessage());
    }
}
