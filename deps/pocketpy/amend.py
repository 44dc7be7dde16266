#!/usr/bin/env python3
"""amend.py FILE: mends faults in pocketpy.c of pocketpy 2.1.8, in place. What is not found once is an error."""
import pathlib
import sys

FAULTS = [
    # `import a, b`: the buffer of the first name was given away, the second was read as "".
    ("  do {\n    consume(TK_ID);\n    c11_sv name = Token__sv(prev());\n    c11_sbuf__write_sv(buf, name);\n",
     "  do {\n    consume(TK_ID);\n    c11_sv name = Token__sv(prev());\n    c11_sbuf__ctor(buf);\n"
     "    c11_sbuf__write_sv(buf, name);\n"),
    # __exit__ takes three arguments in programs that others wrote.
    ("    if (!py_vectorcall(0, 0))\n      goto __ERROR;\n    POP();\n    DISPATCH();\n  }\n",
     "    for (int i = 0; i < 3; i++)\n      py_pushnone();\n    if (!py_vectorcall(3, 0))\n"
     "      goto __ERROR;\n    POP();\n    DISPATCH();\n  }\n"),
    # `match` is a name wherever it does not begin a line that ends with a colon.
    ("static Error *eat_name(Lexer *self) {\n",
     """static bool is_match_name(Lexer *self) {
  const char *begin = self->src->source->data;
  const char *p = self->token_start;
  while (p > begin && (p[-1] == ' ' || p[-1] == '\\t'))
    p--;
  if (p > begin && p[-1] != '\\n')
    return true;
  char last = 0;
  char quote = 0;
  for (p = self->curr_char; *p != 0 && *p != '\\n'; p++) {
    if (quote == 0 && *p == '#')
      break;
    if (*p == '"' || *p == '\\'')
      quote = quote == 0 ? *p : quote == *p ? 0 : quote;
    if (*p != ' ' && *p != '\\t' && *p != '\\r')
      last = *p;
  }
  char next = *self->curr_char;
  return last != ':' || (next != ' ' && next != '(' && next != '[');
}

static Error *eat_name(Lexer *self) {
"""),
    ("  if (out != KW_COUNT && c11__sveq2(name, KW_BEGIN[out])) {\n",
     "  if (out != KW_COUNT && c11__sveq2(name, KW_BEGIN[out]) &&\n"
     "      (out + TK_FALSE != TK_MATCH || !is_match_name(self))) {\n"),
    # Strings beside each other are one.
    ("static Error *exprImag(Compiler *self) {\n",
     """static Error *exprStrings(Compiler *self) {
  Error *err;
  check(prev()->type == TK_STR ? exprLiteral(self) : exprFString(self));
  while (curr()->type == TK_STR || curr()->type == TK_FSTR_BEGIN) {
    int line = curr()->line;
    advance();
    check(prev()->type == TK_STR ? exprLiteral(self) : exprFString(self));
    BinaryExpr *e = BinaryExpr__new(line, TK_ADD, false);
    e->rhs = Ctx__s_popx(ctx());
    e->lhs = Ctx__s_popx(ctx());
    Ctx__s_push(ctx(), (Expr *)e);
  }
  return NULL;
}

static Error *exprImag(Compiler *self) {
"""),
    ("    [TK_STR] =         { exprLiteral, },\n    [TK_FSTR_BEGIN] =  { exprFString, },\n",
     "    [TK_STR] =         { exprStrings, },\n    [TK_FSTR_BEGIN] =  { exprStrings, },\n"),
    # Formats are those of Python: sdk/python/src/interpreter.c.
    ("bool pk_format_object(VM *self, py_Ref val, c11_sv spec) {\n",
     "static bool format_value(py_Ref value, c11_sv spec);\n\n"
     "bool pk_format_object(VM *self, py_Ref val, c11_sv spec) {\n"
     "  if (spec.size > 0)\n    return format_value(val, spec);\n"),
    # Comprehensions have more than one `for` and `if`, and are arguments and groups of their own.
    ("  Expr *cond; // optional if condition\n\n  Opcode op0;\n  Opcode op1;\n} CompExpr;\n",
     "  Expr *cond; // optional if condition\n  Expr *inner; // the next `for`\n  bool is_iterator;\n\n"
     "  Opcode op0;\n  Opcode op1;\n} CompExpr;\n"),
    ("  vtdelete(self->iter);\n  vtdelete(self->cond);\n}\n",
     "  vtdelete(self->iter);\n  vtdelete(self->cond);\n  vtdelete(self->inner);\n}\n"),
    ("  self->iter = NULL;\n  self->cond = NULL;\n",
     "  self->iter = NULL;\n  self->cond = NULL;\n  self->inner = NULL;\n  self->is_iterator = false;\n"),
    ("void CompExpr__emit_(Expr *self_, Ctx *ctx) {\n  CompExpr *self = (CompExpr *)self_;\n"
     "  Ctx__emit_(ctx, self->op0, 0, self->line);\n",
     "static void CompExpr__emit_loop(CompExpr *self, Ctx *ctx, int depth) {\n"),
    ("    int patch = Ctx__emit_(ctx, OP_POP_JUMP_IF_FALSE, BC_NOARG, BC_KEEPLINE);\n"
     "    vtemit_(self->expr, ctx);\n    Ctx__emit_(ctx, self->op1, BC_NOARG, BC_KEEPLINE);\n"
     "    Ctx__patch_jump(ctx, patch);\n  } else {\n    vtemit_(self->expr, ctx);\n"
     "    Ctx__emit_(ctx, self->op1, BC_NOARG, BC_KEEPLINE);\n  }\n"
     "  Ctx__emit_jump(ctx, block_start, BC_KEEPLINE);\n  Ctx__exit_block(ctx);\n}\n",
     """    int patch = Ctx__emit_(ctx, OP_POP_JUMP_IF_FALSE, BC_NOARG, BC_KEEPLINE);
    CompExpr__emit_inside(self, ctx, depth);
    Ctx__patch_jump(ctx, patch);
  } else {
    CompExpr__emit_inside(self, ctx, depth);
  }
  Ctx__emit_jump(ctx, block_start, BC_KEEPLINE);
  Ctx__exit_block(ctx);
}

static void CompExpr__emit_inside(CompExpr *self, Ctx *ctx, int depth) {
  if (self->inner) {
    CompExpr__emit_loop((CompExpr *)self->inner, ctx, depth + 1);
    return;
  }
  vtemit_(self->expr, ctx);
  Ctx__emit_(ctx, self->op1, depth, BC_KEEPLINE);
}

void CompExpr__emit_(Expr *self_, Ctx *ctx) {
  CompExpr *self = (CompExpr *)self_;
  Ctx__emit_(ctx, self->op0, 0, self->line);
  CompExpr__emit_loop(self, ctx, 0);
  if (self->is_iterator)
    Ctx__emit_(ctx, OP_GET_ITER, BC_NOARG, BC_KEEPLINE);
}
"""),
    ("static void CompExpr__emit_loop(CompExpr *self, Ctx *ctx, int depth) {\n",
     "static void CompExpr__emit_inside(CompExpr *self, Ctx *ctx, int depth);\n\n"
     "static void CompExpr__emit_loop(CompExpr *self, Ctx *ctx, int depth) {\n"),
    ("    py_list_append(THIRD(), TOP());\n", "    py_list_append(py_peek(-3 - byte.arg), TOP());\n"),
    ("    bool ok = py_dict_setitem(FOURTH(), SECOND(), TOP());\n    if (!ok)\n      goto __ERROR;\n"
     "    STACK_SHRINK(2);\n",
     "    bool ok = py_dict_setitem(py_peek(-4 - byte.arg), SECOND(), TOP());\n    if (!ok)\n"
     "      goto __ERROR;\n    STACK_SHRINK(2);\n"),
    ("    // [set, iter, value]\n    py_push(THIRD()); // [| set]\n",
     "    // [set, iter, value]\n    py_push(py_peek(-3 - byte.arg)); // [| set]\n"),
    ("  if (match(TK_IF)) {\n    check(parse_expression(self, PREC_TERNARY + 1,\n"
     "                           false)); // [expr, vars, iter, cond]\n    has_cond = true;\n  }\n"
     "  CompExpr *ce = CompExpr__new(line, op0, op1);\n",
     """  while (match(TK_IF)) {
    check(parse_expression(self, PREC_TERNARY + 1,
                           false)); // [expr, vars, iter, cond]
    if (has_cond) {
      LogicBinaryExpr *both = LogicBinaryExpr__new(line, OP_JUMP_IF_FALSE_OR_POP);
      both->rhs = Ctx__s_popx(ctx());
      both->lhs = Ctx__s_popx(ctx());
      Ctx__s_push(ctx(), (Expr *)both);
    }
    has_cond = true;
  }
  Expr *inner = NULL;
  if (match(TK_FOR)) {
    Ctx__s_push(ctx(), (Expr *)Literal0Expr__new(line, TK_NONE)); // in the value's place
    check(consume_comp(self, op0, op1));
    inner = Ctx__s_popx(ctx());
  }
  CompExpr *ce = CompExpr__new(line, op0, op1);
  ce->inner = inner;
"""),
    ("  ce->expr = Ctx__s_popx(ctx());\n  Ctx__s_push(ctx(), (Expr *)ce);\n  return NULL;\n}\n",
     """  ce->expr = Ctx__s_popx(ctx());
  for (CompExpr *last = (CompExpr *)ce->inner; last != NULL; last = (CompExpr *)last->inner) {
    if (last->inner == NULL) { // the value is the innermost one's
      Expr *none = last->expr;
      last->expr = ce->expr;
      ce->expr = none;
    }
  }
  Ctx__s_push(ctx(), (Expr *)ce);
  return NULL;
}

static Error *consume_iterator(Compiler *self) {
  Error *err;
  check(consume_comp(self, OP_BUILD_LIST, OP_LIST_APPEND));
  ((CompExpr *)Ctx__s_top(ctx()))->is_iterator = true;
  return NULL;
}
"""),
    ("  check(EXPR_TUPLE(self)); // () is just for change precedence\n  consume(TK_RPAREN);\n",
     "  check(EXPR_TUPLE(self)); // () is just for change precedence\n  if (match(TK_FOR))\n"
     "    check(consume_iterator(self));\n  consume(TK_RPAREN);\n"),
    ("      check(EXPR(self));\n      int star_level = 0;\n",
     "      check(EXPR(self));\n      if (match(TK_FOR))\n        check(consume_iterator(self));\n"
     "      int star_level = 0;\n"),
    ("static Error *exprGroup(Compiler *self) {\n",
     "static Error *consume_iterator(Compiler *self);\n\nstatic Error *exprGroup(Compiler *self) {\n"),
    # Large objects bring the collector closer than small ones: few of them can hold much memory.
    ("  self->gc_counter++;\n", "  self->gc_counter += 1 + udsize / 1024;\n"),
]


def main():
    path = pathlib.Path(sys.argv[1])
    text = path.read_text()
    for before, after in FAULTS:
        if text.count(before) != 1:
            sys.exit(f"{path}: {text.count(before)} times, not once:\n{before}")
        text = text.replace(before, after)
    path.write_text(text)


if __name__ == "__main__":
    main()
