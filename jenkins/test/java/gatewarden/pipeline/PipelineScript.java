package gatewarden.pipeline;

import com.cloudbees.groovy.cps.SerializableScript;

/** What every Jenkinsfile and every file of vars is made into: names that it does not have itself are asked of the build. */
public abstract class PipelineScript extends SerializableScript {
    private static final long serialVersionUID = 1L;

    @Override
    public Object invokeMethod(String name, Object args) {
        return Build.current().call(this, name, (Object[]) args);
    }

    @Override
    public Object getProperty(String name) {
        Object global = Build.current().global(name);
        if (global != null) {
            return global;
        }
        Object var = Build.current().library(this, name);
        return var != null ? var : super.getProperty(name);
    }
}
