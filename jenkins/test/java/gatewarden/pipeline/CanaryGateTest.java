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
}
