"""What people have to look at from outside the tests: known vulnerabilities, secrets in files, bills of materials."""
