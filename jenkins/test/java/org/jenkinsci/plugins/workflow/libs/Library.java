package org.jenkinsci.plugins.workflow.libs;

/** Stands in for Jenkins' annotation that loads a library; here it is there already. */
public @interface Library {
    String[] value();
}
