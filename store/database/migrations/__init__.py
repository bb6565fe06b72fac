"""SQL that brings a database from one version to the next, one numbered file for each step."""
