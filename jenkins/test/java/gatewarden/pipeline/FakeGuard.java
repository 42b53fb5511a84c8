package gatewarden.pipeline;

import groovy.json.JsonOutput;
import groovy.json.JsonSlurper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** A guard as httpRequest sees it: starts runs, finds them again by their key, and ends them by the build's clock. */
final class FakeGuard implements Function<Map<String, Object>, Steps.Response> {
    final List<Map<String, Object>> requests = new ArrayList<>();
    final List<Map<?, ?>> bodies = new ArrayList<>();
    /** When a run ends, and how. */
    long endsAt = 65_000;
    String verdict = "pass";
    /** Answers that come first instead of the guard's, by the number of the request. */
    final Map<Integer, Steps.Response> instead = new LinkedHashMap<>();
    /** Requests that break off, by their number. */
    final List<Integer> broken = new ArrayList<>();

    /** A key whose run was cancelled before. */
    String cancelledKey = "";

    private final Build build;
    private final List<String> keys = new ArrayList<>();
    private boolean cancelled;
    private String override;

    FakeGuard(Build build) {
        this.build = build;
    }

    int runs() {
        return keys.size();
    }

    boolean cancelled() {
        return cancelled;
    }

    @Override
    public Steps.Response apply(Map<String, Object> request) {
        requests.add(request);
        int n = requests.size();
        if (broken.contains(n)) {
            throw new IllegalStateException("java.net.SocketException: Connection reset");
        }
        if (instead.containsKey(n)) {
            return instead.get(n);
        }
        String call = request.get("httpMode") + " " + request.get("url").toString().replace("http://gatewarden:8080", "");
        if (call.equals("POST /api/v1/canaries/orders/runs")) {
            Map<?, ?> body = (Map<?, ?>) new JsonSlurper().parseText(request.get("requestBody").toString());
            bodies.add(body);
            if (body.get("key").equals(cancelledKey)) {
                return new Steps.Response(200, "{\"id\":\"run-0\",\"state\":\"cancelled\"}");
            }
            boolean known = keys.contains(body.get("key").toString());
            if (!known) {
                keys.add(body.get("key").toString());
            }
            return run(known ? 200 : 201);
        }
        if (call.equals("GET /api/v1/runs/run-1")) {
            return run(200);
        }
        if (call.equals("POST /api/v1/runs/run-1/cancel")) {
            bodies.add((Map<?, ?>) new JsonSlurper().parseText(request.get("requestBody").toString()));
            cancelled = build.clock < endsAt;
            return run(200);
        }
        if (call.equals("GET /api/v1/canaries/orders/runs/latest")) {
            return run(200);
        }
        if (call.equals("POST /api/v1/runs/run-1/override")) {
            if (build.clock >= endsAt) {
                return new Steps.Response(409, "{\"error\":{\"code\":\"conflict\",\"message\":\"run-1 is over\"}}");
            }
            Map<?, ?> body = (Map<?, ?>) new JsonSlurper().parseText(request.get("requestBody").toString());
            bodies.add(body);
            override = body.get("by").toString();
            verdict = body.get("state").toString();
            endsAt = build.clock;
            return run(200);
        }
        return new Steps.Response(404, "{\"error\":{\"code\":\"not_found\",\"message\":\"no such thing: " + call + "\",\"hint\":\"look again\"}}");
    }

    private Steps.Response run(int status) {
        boolean over = build.clock >= endsAt;
        String state = cancelled ? "cancelled" : over ? verdict : "running";
        Map<String, Object> run = new LinkedHashMap<>(Map.of("id", "run-1", "canary", "orders", "state", state, "reason", over ? "because" : "not yet",
                "started_at", "2026-11-22T02:00:00Z", "deadline", "2026-11-22T02:30:00.5+00:00"));
        if (override != null) {
            run.put("override", Map.of("by", override, "reason", "said so"));
        }
        return new Steps.Response(status, JsonOutput.toJson(run));
    }
}
