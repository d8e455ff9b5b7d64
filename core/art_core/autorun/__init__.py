"""Files of a workspace that programs of the host obey: the rules, how they are found, held back and told."""
