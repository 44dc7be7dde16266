"""tests/render_chat as a child: one JSON request a line, one JSON answer a line."""
import json
import subprocess


class Renderer:
    shared = None  # a worker's own

    def __init__(self, program):
        self.program = program
        self.child = None

    def ask(self, request):
        """-> the answer; {} and a new child for the next request where this one died."""
        if self.child is None:
            self.child = subprocess.Popen([self.program], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE)
        try:
            self.child.stdin.write(json.dumps(request).encode() + b"\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            status = self.child.wait()
            self.child = None
            return {"died": status}
        return json.loads(line)

    def render(self, source, request, **others):
        return self.ask({"template": source, **request, **others})
