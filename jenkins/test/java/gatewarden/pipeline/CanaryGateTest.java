package gatewarden.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
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

/** canaryGate, with a program that stands in for gatewarden and really runs. */
class CanaryGateTest {
    @TempDir
    Path dir;

    Build build;

    @BeforeEach
    void start() throws Exception {
        Files.createDirectories(dir.resolve("workspace"));
        build = new Build(dir.resolve("workspace"));
        build.environment.put("GATEWARDEN_SERVER", "http://gatewarden:8080");
        build.environment.put("FAKE_DIR", dir.toString());
    }

    Map<?, ?> gate(String options) throws Throwable {
        return (Map<?, ?>) build.run("def r\nnode { stage('Canary') { r = canaryGate(" + options + ") } }\nreturn r");
    }

    List<String> argv() throws IOException {
        return List.of(Files.readString(dir.resolve("argv")).split("\0"));
    }

    @Test
    @DisplayName("a pass lets the build go on, with reports, a description and a map that says why")
    void pass() throws Throwable {
        Map<?, ?> r = gate("canary: 'orders'");
        assertEquals(Map.of("canary", "orders", "state", "pass", "reason", "because", "run", "run-1", "overriddenBy", "", "key",
                "jenkins-shop-orders-17/Canary/orders", "exitCode", 0, "reports", "gatewarden/orders"), r);
        assertEquals("SUCCESS", build.result());
        assertEquals("canary orders: pass", build.description);
        assertEquals("gatewarden/orders/junit.xml", build.steps.done("junit").get(0).get("testResults"));
        assertEquals(true, build.steps.done("junit").get(0).get("skipMarkingBuildUnstable"));
        assertEquals("gatewarden/orders/*", build.steps.done("archiveArtifacts").get(0).get("artifacts"));
        assertTrue(build.saved > 5, "the build is saved at every step, not " + build.saved + " times");
    }

    @Test
    @DisplayName("the program is asked about the canary, with the build's parameters and a key of build, stage and canary")
    void arguments() throws Throwable {
        build.environment.put("GIT_COMMIT", "4e1f");
        gate("canary: 'orders', timeout: '20m', parameters: [version: 'v2', build: 17, none: null]");
        assertEquals(List.of("gate", "orders", "--server", "http://gatewarden:8080", "--unreachable", "2m", "--timeout", "20m", "--key", "jenkins-shop-orders-17/Canary/orders",
                "--param", "BUILD_URL=http://jenkins:8080/job/shop/job/orders/17/", "--param", "BUILD_TAG=jenkins-shop-orders-17", "--param", "GIT_COMMIT=4e1f",
                "--param", "version=v2", "--param", "build=17", "--junit", "gatewarden/orders/junit.xml", "--json", "gatewarden/orders/run.json",
                "--markdown", "gatewarden/orders/report.md", "--html", "gatewarden/orders/report.html"), argv());
    }

    @Test
    @DisplayName("what a parameter says reaches the program as it is, whatever a shell would make of it")
    void quoting() throws Throwable {
        String nasty = "it's \"$HOME\" `id` $(id) \\ * ; rm -rf x\nnew line";
        build.environment.put("NASTY", nasty);
        gate("canary: \"or${''}ders\", parameters: [note: env.NASTY]");
        assertTrue(argv().contains("note=" + nasty), () -> "no such argument: " + build.log);
    }

    @ParameterizedTest(name = "exit code {0} with onFail {1} and onInconclusive {2}: the build is {3}, {4}")
    @CsvSource(quoteCharacter = '"', value = {
        "0, fail,     fail,     SUCCESS,  pass",
        "2, fail,     pass,     FAILURE,  canary orders: fail: because (run run-1)",
        "2, unstable, pass,     UNSTABLE, fail",
        "2, pass,     fail,     SUCCESS,  fail",
        "3, pass,     fail,     FAILURE,  canary orders: inconclusive: because (run run-1)",
        "3, pass,     unstable, UNSTABLE, inconclusive",
        "3, fail,     pass,     SUCCESS,  inconclusive",
        "1, pass,     pass,     FAILURE,  canary orders: error: because (run run-1)",
    })
    void exitCodes(int code, String onFail, String onInconclusive, String result, String said) throws Throwable {
        build.environment.put("FAKE_EXIT", String.valueOf(code));
        String options = "canary: 'orders', onFail: '" + onFail + "', onInconclusive: '" + onInconclusive + "'";
        if (result.equals("FAILURE")) {
            Throwable e = assertThrows(IOException.class, () -> gate(options));
            assertEquals(said, e.getMessage());
        } else {
            Map<?, ?> r = gate(options);
            assertEquals(said, r.get("state"));
            assertEquals(code, r.get("exitCode"));
        }
        assertEquals(result, build.result());
        assertEquals(1, build.steps.done("junit").size(), "reports are published whatever the answer");
        assertEquals(1, build.steps.done("archiveArtifacts").size());
    }

    @ParameterizedTest(name = "exit code {0} without reports: {1}")
    @CsvSource(quoteCharacter = '"', value = {
        "1,   the guard gave no verdict (code 1); the console says why",
        "4,   the guard gave no verdict (code 4); the console says why",
        "127, \"the agent has no program 'gatewarden' that can be run; install gatewarden there, or say where it is: tool: '/opt/bin/gatewarden'\"",
        "143, \"the gate was ended from outside (code 143): the agent was lost, or somebody killed it\"",
    })
    void errors(int code, String said) {
        build.environment.put("FAKE_EXIT", String.valueOf(code));
        build.environment.put("FAKE_REPORTS", "none");
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders', onFail: 'pass', onInconclusive: 'pass'"));
        assertEquals("canary orders: error: " + said, e.getMessage());
    }

    @ParameterizedTest(name = "without an option the code {0} ends the build: what is not known is not good")
    @ValueSource(ints = {2, 3})
    void defaults(int code) {
        build.environment.put("FAKE_EXIT", String.valueOf(code));
        assertThrows(IOException.class, () -> gate("canary: 'orders'"));
        assertEquals("FAILURE", build.result());
    }

    @Test
    @DisplayName("without its reports the exit code says all there is, and an old report is not taken for a new one")
    void noReports() throws Throwable {
        Path old = Files.createDirectories(dir.resolve("workspace/gatewarden/orders"));
        Files.writeString(old.resolve("run.json"), "{\"id\":\"old\",\"state\":\"fail\"}");
        Files.writeString(old.resolve("junit.xml"), "<testsuite/>");
        build.environment.put("FAKE_REPORTS", "none");
        Map<?, ?> r = gate("canary: 'orders'");
        assertEquals("pass", r.get("state"));
        assertEquals("", r.get("run"));
        assertFalse(Files.exists(old.resolve("junit.xml")));
        assertTrue(build.log.contains("canaryGate: gatewarden/orders/run.json is missing or no run; the exit code 0 says all there is"), build.log::toString);
    }

    @Test
    @DisplayName("a pass that its own report contradicts is an error")
    void contradiction() {
        build.environment.put("FAKE_STATE", "cancelled");
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders', onFail: 'pass', onInconclusive: 'pass'"));
        assertEquals("canary orders: error: the gate's exit code says pass, and its report says cancelled: (run run-1)".replace(": (", " ("), e.getMessage());
    }

    @Test
    @DisplayName("a person's decision is named")
    void override() throws Throwable {
        build.environment.put("FAKE_OVERRIDE", "{\"by\":\"ann\",\"reason\":\"known trouble\"}");
        assertEquals("ann", gate("canary: 'orders'").get("overriddenBy"));
        assertEquals("canary orders: pass by ann", build.description);
    }

    @Test
    @DisplayName("an aborted build ends the program, which can cancel its run, and stays aborted")
    void abort() throws Throwable {
        build.environment.put("FAKE_WAIT", "1");
        build.steps.abortIn = call -> call.name().equals("sh");
        assertThrows(FlowInterruptedException.class, () -> gate("canary: 'orders'"));
        assertEquals("ABORTED", build.result());
        assertTrue(Files.exists(dir.resolve("cancelled")), "the signal reaches the program itself");
        assertEquals("canary orders: interrupted", build.description);
    }

    @Test
    @DisplayName("a stage that is run again before there was an answer goes on with its run and its reports")
    void resume() throws Throwable {
        build.run("""
                int n = 0
                node { stage('Canary') {
                  retry(2) {
                    env.FAKE_EXIT = n++ == 0 ? '1' : '0'
                    canaryGate(canary: 'orders')
                  }
                } }
                """);
        List<Map<String, Object>> scripts = build.steps.done("sh");
        assertEquals(2, scripts.size());
        assertEquals(scripts.get(0).get("script"), scripts.get(1).get("script"));
    }

    @Test
    @DisplayName("a stage that is run again after its run was cancelled asks anew")
    void cancelledBefore() throws Throwable {
        Map<?, ?> r = (Map<?, ?>) build.run("""
                int n = 0
                def r
                node { stage('Canary') {
                  retry(2) {
                    env.FAKE_EXIT = n++ == 0 ? '1' : '0'
                    env.FAKE_CANCELLED = n == 1 ? '' : 'jenkins-shop-orders-17/Canary/orders'
                    r = canaryGate(canary: 'orders')
                  }
                } }
                return r
                """);
        assertEquals("pass", r.get("state"));
        assertEquals("jenkins-shop-orders-17/Canary/orders#2", r.get("key"));
        assertEquals(3, build.steps.done("sh").size());
    }

    @Test
    @DisplayName("a run that somebody else cancelled is inconclusive, and is not asked again")
    void cancelled() {
        build.environment.put("FAKE_CANCELLED", "jenkins-shop-orders-17/Canary/orders");
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders'"));
        assertEquals("canary orders: inconclusive: because (run run-1)", e.getMessage());
        assertEquals(1, build.steps.done("sh").size());
    }

    @Test
    @DisplayName("replace is handed on")
    void replace() throws Throwable {
        gate("canary: 'orders', replace: true");
        assertTrue(argv().contains("--replace"));
    }

    @Test
    @DisplayName("a second gate of the same stage is a question of its own, also when another script asks it")
    void second() throws Throwable {
        List<?> keys = (List<?>) build.run("""
                def all = []
                node {
                  stage('Canary') {
                    all << canaryGate(canary: 'orders')
                    all << canaryGate(canary: 'orders')
                    all << canaryGate(canary: 'payments')
                  }
                  stage('Half') { all << canaryGate(canary: 'orders') }
                }
                return all.collect { [it.key, it.reports] }
                """);
        String tag = "jenkins-shop-orders-17/";
        assertEquals(List.of(List.of(tag + "Canary/orders", "gatewarden/orders"), List.of(tag + "Canary/orders#2", "gatewarden/orders-2"),
                List.of(tag + "Canary/payments", "gatewarden/payments"), List.of(tag + "Half/orders", "gatewarden/orders-3")), keys);
    }

    @Test
    @DisplayName("services side by side have keys and reports of their own")
    void parallel() throws Throwable {
        Map<?, ?> r = (Map<?, ?>) build.run("""
                stage('Canaries') {
                  return parallel(
                    orders: { node { canaryGate(canary: 'orders') } },
                    payments: { node { canaryGate(canary: 'payments') } },
                    failFast: false)
                }
                """);
        assertEquals("jenkins-shop-orders-17/Canaries/orders", ((Map<?, ?>) r.get("orders")).get("key"));
        assertEquals("gatewarden/payments", ((Map<?, ?>) r.get("payments")).get("reports"));
        assertTrue(build.description.contains("canary orders: pass") && build.description.contains("canary payments: pass"), build.description);
    }

    @Test
    @DisplayName("a run that is there already is gone on with, without a key or parameters")
    void run() throws Throwable {
        gate("canary: 'orders', run: 'run-7', parameters: [version: 'v2']");
        assertEquals(List.of("gate", "orders", "--server", "http://gatewarden:8080", "--unreachable", "2m", "--run", "run-7", "--junit"), argv().subList(0, 9));
    }

    @Test
    @DisplayName("a token is in a file that only the agent's user can read, is not printed, and is gone afterwards")
    void token() throws Throwable {
        build.steps.secrets.put("guard", "s3cret 'quoted'");
        build.environment.put("FAKE_EXIT", "2");
        assertThrows(IOException.class, () -> gate("canary: 'orders', credentialsId: 'guard'"));
        assertEquals("s3cret 'quoted'", Files.readString(dir.resolve("token")));
        assertTrue(Files.readString(dir.resolve("token-mode")).startsWith("-rw-------"));
        assertFalse(String.join("\n", build.log).contains("s3cret"), build.log::toString);
        String file = argv().get(argv().indexOf("--token-file") + 1);
        assertTrue(file.startsWith(dir.resolve("workspace@tmp").toString()), file);
        assertFalse(Files.exists(Path.of(file)));
    }

    @Test
    @DisplayName("a file that has the token is handed on")
    void tokenFile() throws Throwable {
        Files.writeString(dir.resolve("given"), "t");
        gate("canary: 'orders', tokenFile: '" + dir.resolve("given") + "'");
        assertEquals(dir.resolve("given").toString(), argv().get(argv().indexOf("--token-file") + 1));
        assertTrue(Files.exists(dir.resolve("given")));
    }

    @Test
    @DisplayName("junit, archive and description can be left out")
    void quiet() throws Throwable {
        gate("canary: 'orders', junit: false, archive: false, description: false, reports: 'out/gate'");
        assertEquals(List.of(), build.steps.done("junit"));
        assertEquals(List.of(), build.steps.done("archiveArtifacts"));
        assertEquals(null, build.description);
        assertTrue(Files.exists(dir.resolve("workspace/out/gate/report.html")));
    }

    @Test
    @DisplayName("a program somewhere else is called there; one that is not there is said so")
    void tool() throws Throwable {
        Throwable e = assertThrows(IOException.class, () -> gate("canary: 'orders', tool: '/nowhere/gatewarden'"));
        assertTrue(e.getMessage().contains("the agent has no program '/nowhere/gatewarden'"), e.getMessage());
    }

    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource(delimiter = '|', value = {
        "canary: ''                                       | canary is missing",
        "canary: '--server'                               | canary is missing",
        "canary: 'orders', server: 'gatewarden:8080'      | server is missing or no URL",
        "canary: 'orders', timeout: '15 minutes'          | timeout '15 minutes' is no duration",
        "canary: 'orders', timeout: '0s'                  | timeout '0s' is no duration",
        "canary: 'orders', onFail: 'rollback'             | onFail 'rollback' is none of fail, unstable, pass",
        "canary: 'orders', onInconclusive: 'hold'         | onInconclusive 'hold' is none of fail, unstable, pass",
        "canary: 'orders', onInconclusiv: 'pass'          | unknown option 'onInconclusiv'; there are: canary, server",
        "canary: 'orders', webhook: true                  | unknown option 'webhook'",
        "canary: 'orders', parameters: 'v2'               | parameters is no map",
        "canary: 'orders', parameters: ['a=b': 'c']       | the parameter name 'a=b' is empty or has an equals sign",
        "canary: 'orders', credentialsId: 'a', tokenFile: 'b' | credentialsId and tokenFile both name a token",
    })
    void wrong(String options, String said) {
        Throwable e = assertThrows(IOException.class, () -> gate(options));
        assertTrue(e.getMessage().contains(said), e.getMessage());
        assertEquals(List.of(), build.steps.done("sh"));
    }

    @Test
    @DisplayName("without a workspace, or on Windows, it says which step to take instead")
    void nowhere() {
        Throwable e = assertThrows(IOException.class, () -> build.run("canaryGate(canary: 'orders')"));
        assertTrue(e.getMessage().contains("canaryGateHttp"), e.getMessage());
        build.steps.unix = false;
        e = assertThrows(IOException.class, () -> gate("canary: 'orders'"));
        assertTrue(e.getMessage().contains("canaryGateHttp"), e.getMessage());
    }
}
