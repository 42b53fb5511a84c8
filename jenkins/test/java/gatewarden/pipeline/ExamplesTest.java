package gatewarden.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every Jenkinsfile of examples/ci/jenkins, run to its end in more than one way. */
class ExamplesTest {
    private static final Path EXAMPLES = Path.of("../examples/ci/jenkins");

    @TempDir
    Path dir;

    Build build;

    @BeforeEach
    void start() throws Exception {
        Path workspace = Files.createDirectories(dir.resolve("workspace"));
        for (String name : List.of("deploy.sh", "rollback.sh")) {
            Files.copy(Path.of("test/fake/deploy.sh"), workspace.resolve(name), java.nio.file.StandardCopyOption.COPY_ATTRIBUTES);
        }
        build = new Build(workspace);
        build.environment.put("FAKE_DIR", dir.toString());
        build.steps.secrets.put("gatewarden-token", "s3cret");
        parameter("VERSION", "v2");
    }

    private void parameter(String name, String value) {
        build.parameters.put(name, value);
        build.environment.put(name, value); // Jenkins has parameters in the environment, too
    }

    private void run(String name) throws Throwable {
        build.run(EXAMPLES.resolve("Jenkinsfile." + name));
    }

    private List<String> calls() throws IOException {
        Path file = dir.resolve("calls");
        return Files.exists(file) ? Files.readAllLines(file) : List.of();
    }

    @Test
    @DisplayName("there is no example that is not run here")
    void all() throws IOException {
        try (Stream<Path> files = Files.list(EXAMPLES)) {
            assertEquals(new TreeSet<>(List.of("declarative", "scripted", "parallel", "blue-green", "manual-override", "webhook", "rollback")),
                    files.map(f -> f.getFileName().toString()).filter(f -> f.startsWith("Jenkinsfile.")).map(f -> f.substring("Jenkinsfile.".length()))
                            .collect(Collectors.toCollection(TreeSet::new)));
        }
    }

    @ParameterizedTest(name = "{0} with exit code {1}: the build is {2}, and {3} follows")
    @CsvSource({
        "declarative, 0, SUCCESS,  deploy.sh everywhere v2",
        "declarative, 2, FAILURE,  deploy.sh back",
        "declarative, 3, FAILURE,  deploy.sh back",
        "declarative, 1, FAILURE,  deploy.sh back",
        "scripted,    0, SUCCESS,  deploy.sh everywhere v2",
        "scripted,    2, FAILURE,  deploy.sh back",
        "scripted,    3, UNSTABLE, deploy.sh back",
        "scripted,    1, FAILURE,  deploy.sh back",
    })
    void release(String name, int code, String result, String last) throws Throwable {
        build.environment.put("FAKE_EXIT", String.valueOf(code));
        if (result.equals("FAILURE")) {
            assertThrows(IOException.class, () -> run(name));
        } else {
            run(name);
        }
        assertEquals(result, build.result());
        assertEquals(List.of("deploy.sh canary v2", last), calls());
    }

    @ParameterizedTest(name = "{0}: an aborted gate takes the canary back")
    @CsvSource({"declarative", "scripted"})
    void abort(String name) throws Throwable {
        build.environment.put("FAKE_WAIT", "1");
        build.steps.abortIn = call -> call.name().equals("sh") && call.args().get("script").toString().contains("'gate'");
        assertThrows(FlowInterruptedException.class, () -> run(name));
        assertEquals("ABORTED", build.result());
        assertEquals(List.of("deploy.sh canary v2", "deploy.sh back"), calls());
        assertTrue(Files.exists(dir.resolve("cancelled")));
    }

    @Test
    @DisplayName("parallel: all services pass, and go on together")
    void parallelPass() throws Throwable {
        run("parallel");
        assertEquals("deploy.sh everywhere orders payments inventory", calls().get(3));
        for (String service : List.of("orders", "payments", "inventory")) {
            assertTrue(calls().indexOf("deploy.sh canary " + service) >= 0);
            assertTrue(build.description.contains("canary " + service + ": pass"), build.description);
        }
    }

    @Test
    @DisplayName("parallel: one that fails takes all of them back")
    void parallelFail() throws Throwable {
        build.environment.put("FAKE_EXIT", "2");
        assertThrows(IOException.class, () -> run("parallel"));
        assertEquals("deploy.sh back orders payments inventory", calls().get(calls().size() - 1));
    }

    @Test
    @DisplayName("blue-green: three shares, three runs, then all of it")
    void blueGreenPass() throws Throwable {
        run("blue-green");
        String patch = "curl -fsS -X PATCH http://kong:8001/upstreams/orders/targets/orders-";
        assertEquals(List.of("deploy.sh green",
                patch + "green:8080 -d weight=5", patch + "blue:8080 -d weight=95",
                patch + "green:8080 -d weight=25", patch + "blue:8080 -d weight=75",
                patch + "green:8080 -d weight=50", patch + "blue:8080 -d weight=50",
                patch + "green:8080 -d weight=100", patch + "blue:8080 -d weight=0"), calls());
        assertEquals(List.of("jenkins-shop-orders-17/Shift/orders", "jenkins-shop-orders-17/Shift/orders#2", "jenkins-shop-orders-17/Shift/orders#3"),
                build.steps.done("sh").stream().map(a -> a.get("script").toString()).filter(s -> s.contains("'gate'"))
                        .map(s -> s.replaceAll("(?s).*'--key' '([^']*)'.*", "$1")).toList());
    }

    @Test
    @DisplayName("blue-green: a fail gives everything back to blue")
    void blueGreenFail() throws Throwable {
        build.environment.put("FAKE_EXIT", "2");
        assertThrows(IOException.class, () -> run("blue-green"));
        List<String> calls = calls();
        assertTrue(calls.get(calls.size() - 2).endsWith("orders-blue:8080 -d weight=100"), calls::toString);
        assertTrue(calls.get(calls.size() - 1).endsWith("orders-green:8080 -d weight=0"), calls::toString);
    }

    @Test
    @DisplayName("manual-override: when the guard is first, nobody has to answer any more")
    void guardIsFirst() throws Throwable {
        build.steps.guard = new FakeGuard(build);
        run("manual-override");
        assertEquals(List.of("deploy.sh canary v2", "deploy.sh everywhere v2"), calls());
        assertEquals("SUCCESS", build.result());
        assertEquals(List.of(), build.steps.heldWhileWaiting);
    }

    @ParameterizedTest(name = "manual-override: a person who is first says {0}, the guard is told, the build is {1}")
    @CsvSource({"pass, SUCCESS, deploy.sh everywhere v2", "fail, FAILURE, deploy.sh back"})
    void personIsFirst(String decision, String result, String last) throws Throwable {
        FakeGuard guard = new FakeGuard(build);
        build.steps.guard = guard;
        build.steps.personAt = 22_000;
        build.steps.person = question -> new java.util.HashMap<>(Map.of("DECISION", decision, "BY", "ann", "REASON", "it's \"known\""));
        if (result.equals("FAILURE")) {
            Throwable e = assertThrows(IOException.class, () -> run("manual-override"));
            assertEquals("orders is not released: fail, said ann: because", e.getMessage());
        } else {
            run("manual-override");
        }
        assertEquals(result, build.result());
        assertEquals(List.of("deploy.sh canary v2", last), calls());
        assertEquals(Map.of("state", decision, "by", "ann", "reason", "it's \"known\""), guard.bodies.get(1));
        assertTrue(build.clock < 35_000, "at " + build.clock);
        assertEquals("canary orders: " + decision + " by ann", build.description);
    }

    @Test
    @DisplayName("manual-override: an abort is not taken for a decision")
    void overrideAborted() {
        FakeGuard guard = new FakeGuard(build);
        build.steps.guard = guard;
        build.steps.abortIn = call -> call.name().equals("sleep");
        assertThrows(FlowInterruptedException.class, () -> run("manual-override"));
        assertTrue(guard.cancelled());
        assertEquals("ABORTED", build.result());
    }

    @Test
    @DisplayName("webhook: no executor is held while the guard judges")
    void webhook() throws Throwable {
        FakeGuard guard = new FakeGuard(build);
        build.steps.guard = guard;
        build.steps.hookAt = 65_000;
        run("webhook");
        assertEquals(List.of("deploy.sh canary", "deploy.sh everywhere"), calls());
        assertEquals(List.of(), build.steps.heldWhileWaiting);
        assertEquals(1, guard.runs());
    }

    @Test
    @DisplayName("webhook: a fail takes the canary back")
    void webhookFail() throws Throwable {
        FakeGuard guard = new FakeGuard(build);
        guard.verdict = "fail";
        build.steps.guard = guard;
        assertThrows(IOException.class, () -> run("webhook"));
        assertEquals(List.of("deploy.sh canary", "deploy.sh back"), calls());
    }

    @Test
    @DisplayName("rollback: the same action is done once")
    void rollback() throws Throwable {
        parameter("GATEWARDEN_ACTION", "a1");
        parameter("SERVICE", "orders");
        run("rollback");
        assertEquals(List.of("rollback.sh orders"), calls());
        build.previous = new Globals.Earlier(16, "SUCCESS", Map.of("GATEWARDEN_ACTION_DONE", "a1"), null);
        run("rollback");
        assertEquals(List.of("rollback.sh orders"), calls());
        assertEquals("already done by #16", build.description);
    }

    @ParameterizedTest(name = "Declarative: {0} is refused")
    @CsvSource(quoteCharacter = '`', delimiter = '|', value = {
        "a directive that there is not | pipeline { agent any; stage('x') { steps { echo 'x' } } }",
        "a step outside of steps       | pipeline { agent any; stages { stage('x') { echo 'x' } } }",
        "an option that there is not   | pipeline { agent any; options { disableConcurent() }; stages { stage('x') { steps { echo 'x' } } } }",
        "a step that there is not      | pipeline { agent any; stages { stage('x') { steps { canaryGat(canary: 'orders') } } } }",
    })
    void refused(String what, String jenkinsfile) {
        assertThrows(Throwable.class, () -> build.run(jenkinsfile));
    }
}
