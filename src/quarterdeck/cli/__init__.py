"""The command line. One file a family of commands; they expose, they do not decide."""
