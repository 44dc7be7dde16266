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
    # What does not fit an int of 64 bits is an error, not another number.
    ("#define DEF_NUM_BINARY_OP(name, op, rint, rfloat)                              \\\n",
     """static bool too_large(void) {
  py_Ref type = py_getbuiltin(py_name("OverflowError"));
  return py_exception(type != NULL ? py_totype(type) : tp_ValueError, "an int of more than 64 bits");
}

static bool new_whole(py_f64 from) {
  if (isnan(from))
    return ValueError("cannot convert float NaN to integer");
  if (!(from >= -0x1p63 && from < 0x1p63))
    return too_large();
  py_newint(py_retval(), (py_i64)from);
  return true;
}

#define INT_OR_ERROR(overflows)                                                \\
  do {                                                                         \\
    py_i64 result;                                                             \\
    if (overflows(lhs, rhs, &result))                                          \\
      return too_large();                                                      \\
    py_newint(py_retval(), result);                                            \\
  } while (0)
#define NEWINT_SUM(out, value) INT_OR_ERROR(__builtin_add_overflow)
#define NEWINT_DIFFERENCE(out, value) INT_OR_ERROR(__builtin_sub_overflow)
#define NEWINT_PRODUCT(out, value) INT_OR_ERROR(__builtin_mul_overflow)

#define DEF_NUM_BINARY_OP(name, op, rint, rfloat)                              \\
"""),
    ("DEF_NUM_BINARY_OP(__add__, +, py_newint, py_newfloat)\nDEF_NUM_BINARY_OP(__sub__, -, py_newint, py_newfloat)\n"
     "DEF_NUM_BINARY_OP(__mul__, *, py_newint, py_newfloat)\n",
     "DEF_NUM_BINARY_OP(__add__, +, NEWINT_SUM, py_newfloat)\n"
     "DEF_NUM_BINARY_OP(__sub__, -, NEWINT_DIFFERENCE, py_newfloat)\n"
     "DEF_NUM_BINARY_OP(__mul__, *, NEWINT_PRODUCT, py_newfloat)\n"),
    ("  py_newint(py_retval(), -val);\n",
     "  if (val == INT64_MIN)\n    return too_large();\n  py_newint(py_retval(), -val);\n"),
    ("        if (rhs & 1)\n          ret *= lhs;\n", "        if ((rhs & 1) && __builtin_mul_overflow(ret, lhs, &ret))\n"
     "          return too_large();\n"),
    ("        lhs *= lhs; // place this here to avoid overflow\n",
     "        if (__builtin_mul_overflow(lhs, lhs, &lhs)) // a bit of rhs is left\n          return too_large();\n"),
    ("DEF_INT_BITWISE_OP(__lshift__, <<)\nDEF_INT_BITWISE_OP(__rshift__, >>)\n",
     """static bool shifted(py_Ref argv, bool left) {
  py_i64 lhs = py_toint(&argv[0]);
  if (!py_isint(&argv[1])) {
    py_newnotimplemented(py_retval());
    return true;
  }
  py_i64 rhs = py_toint(&argv[1]);
  if (rhs < 0)
    return ValueError("negative shift count");
  if (!left) {
    py_newint(py_retval(), lhs >> (rhs < 63 ? rhs : 63));
    return true;
  }
  if (lhs != 0 && (rhs > 63 || (py_i64)((uint64_t)lhs << rhs) >> rhs != lhs))
    return too_large();
  py_newint(py_retval(), lhs == 0 ? 0 : (py_i64)((uint64_t)lhs << rhs));
  return true;
}

static bool int__lshift__(int argc, py_Ref argv) {
  PY_CHECK_ARGC(2);
  return shifted(argv, true);
}

static bool int__rshift__(int argc, py_Ref argv) {
  PY_CHECK_ARGC(2);
  return shifted(argv, false);
}
"""),
    ("      py_newint(py_retval(), (py_i64)py_tofloat(&argv[1]));\n",
     "      if (!new_whole(py_tofloat(&argv[1])))\n        return false;\n"),
    ("    // \"9223372036854775807\".__len__() == 19\n    if (text.size > 19)\n",
     "    // \"9223372036854775807\".__len__() == 19\n    if (text.size > 19 || *out < 0)\n"),
    ("    // \"777777777777777777777\".__len__() == 21\n    if (text.size > 21)\n",
     "    // \"777777777777777777777\".__len__() == 21\n    if (text.size > 21 || *out < 0)\n"),
    ("    // \"7fffffffffffffff\".__len__() == 16\n    if (text.size > 16)\n",
     "    // \"7fffffffffffffff\".__len__() == 16\n    if (text.size > 16 || *out < 0)\n"),
    # Halves are rounded to the even, and decimals by what they are.
    ("    py_f64 offset = x >= 0 ? 0.5 : -0.5;\n    if (ndigits == -1) {\n      py_newint(py_retval(), (py_i64)(x + offset));\n"
     "      return true;\n    }\n    py_f64 factor = pow(10, ndigits);\n"
     "    py_newfloat(py_retval(), (py_i64)(x * factor + offset) / factor);\n",
     """    if (ndigits == -1) {
      return new_whole(nearbyint(x));
    }
    char text[400];
    snprintf(text, sizeof text, "%.*f", ndigits < 330 ? ndigits : 330, x);
    py_newfloat(py_retval(), fabs(x) < 1e60 && ndigits < 330 ? strtod(text, NULL) : x);
"""),
    ("ONE_ARG_FUNC(ceil, ceil)\nONE_ARG_FUNC(fabs, fabs)\nONE_ARG_FUNC(floor, floor)\nONE_ARG_FUNC(trunc, trunc)\n",
     """#define ONE_ARG_INT_FUNC(name, func)                                           \\
  static bool math_##name(int argc, py_Ref argv) {                             \\
    PY_CHECK_ARGC(1);                                                          \\
    double x;                                                                  \\
    if (py_isint(py_arg(0))) {                                                 \\
      py_assign(py_retval(), py_arg(0));                                       \\
      return true;                                                             \\
    }                                                                          \\
    return py_castfloat(py_arg(0), &x) && new_whole(func(x));                  \\
  }

ONE_ARG_INT_FUNC(ceil, ceil)
ONE_ARG_FUNC(fabs, fabs)
ONE_ARG_INT_FUNC(floor, floor)
ONE_ARG_INT_FUNC(trunc, trunc)
"""),
    # A float is written so that it reads as the same one.
    ("    size = snprintf(b, sizeof(b), \"%.*g\", prec, val);\n",
     "    size = snprintf(b, sizeof(b), \"%.*g\", prec, val);\n    if (strtod(b, NULL) != val)\n"
     "      size = snprintf(b, sizeof(b), \"%.*g\", prec + 1, val);\n"),
    # [*a, b], (*a, b), {*a, b} and {**a, b: c}.
    ("FrameResult VM__run_top_frame(VM *self) {\n",
     """static bool has_stars(const py_TValue *items, int count) {
  for (int i = 0; i < count; i++)
    if (items[i].type == tp_star_wrapper)
      return true;
  return false;
}

/* A new list of the items, and of what is in those with a star, on the stack. */
static bool push_spread(py_TValue *items, int count) {
  py_Ref list = py_pushtmp();
  py_newlist(list);
  for (int i = 0; i < count; i++) {
    if (items[i].type != tp_star_wrapper) {
      py_list_append(list, &items[i]);
      continue;
    }
    if (*(int *)py_touserdata(&items[i]) != 1)
      return TypeError("'**' stands in a dict or a call");
    if (!py_iter(py_getslot(&items[i], 0)))
      return false;
    py_push(py_retval());
    int more;
    while ((more = py_next(py_peek(-1))) > 0)
      py_list_append(list, py_retval());
    if (more < 0)
      return false;
    py_pop();
  }
  return true;
}

static bool put_in_dict(py_Ref key, py_Ref value, void *dict) {
  return py_dict_setitem(dict, key, value);
}

FrameResult VM__run_top_frame(VM *self) {
"""),
    ("  case OP_BUILD_TUPLE: {\n    py_TValue tmp;\n    py_Ref p = py_newtuple(&tmp, byte.arg);\n"
     "    py_TValue *begin = SP() - byte.arg;\n",
     """  case OP_BUILD_TUPLE: {
    py_TValue tmp;
    py_TValue *begin = SP() - byte.arg;
    if (has_stars(begin, byte.arg)) {
      if (!push_spread(begin, byte.arg))
        goto __ERROR;
      int length = py_list_len(TOP());
      py_Ref to = py_newtuple(&tmp, length);
      for (int i = 0; i < length; i++)
        to[i] = *py_list_getitem(TOP(), i);
      SP() = begin;
      PUSH(&tmp);
      DISPATCH();
    }
    py_Ref p = py_newtuple(&tmp, byte.arg);
"""),
    ("  case OP_BUILD_LIST: {\n    py_TValue tmp;\n    py_newlistn(&tmp, byte.arg);\n    py_TValue *begin = SP() - byte.arg;\n",
     """  case OP_BUILD_LIST: {
    py_TValue tmp;
    py_TValue *begin = SP() - byte.arg;
    if (has_stars(begin, byte.arg)) {
      if (!push_spread(begin, byte.arg))
        goto __ERROR;
      tmp = *TOP();
      SP() = begin;
      PUSH(&tmp);
      DISPATCH();
    }
    py_newlistn(&tmp, byte.arg);
"""),
    ("      bool ok = py_dict_setitem(tmp, begin + i, begin + i + 1);\n",
     """      bool ok;
      if (begin[i + 1].type != tp_star_wrapper)
        ok = py_dict_setitem(tmp, begin + i, begin + i + 1);
      else if (py_getslot(&begin[i + 1], 0)->type != tp_dict)
        ok = TypeError("'%t' behind '**' is not a dict", py_getslot(&begin[i + 1], 0)->type);
      else
        ok = py_dict_apply(py_getslot(&begin[i + 1], 0), put_in_dict, tmp);
"""),
    ("    assert(typeobject_set != NULL);\n    py_push(typeobject_set);\n    py_pushnil();\n"
     "    if (!py_vectorcall(0, 0))\n",
     """    assert(typeobject_set != NULL);
    if (has_stars(begin, byte.arg)) {
      if (!push_spread(begin, byte.arg))
        goto __ERROR;
      py_push(typeobject_set);
      py_pushnil();
      py_push(py_peek(-3));
      if (!py_vectorcall(1, 0))
        goto __ERROR;
      SP() = begin;
      PUSH(py_retval());
      DISPATCH();
    }
    py_push(typeobject_set);
    py_pushnil();
    if (!py_vectorcall(0, 0))
"""),
    ("    check(EXPR(self)); // [key]\n    if (curr()->type == TK_COLON) {\n",
     """    check(EXPR(self)); // [key]
    Expr *top = Ctx__s_top(ctx());
    if (top->vt->is_starred && ((StarredExpr *)top)->level == 2) {
      if (count > 0 && !parsing_dict)
        return SyntaxError(self, "'**' in a set");
      parsing_dict = true;
      DictItemExpr *item = DictItemExpr__new(prev()->line);
      item->value = Ctx__s_popx(ctx());
      item->key = (Expr *)Literal0Expr__new(prev()->line, TK_NONE);
      Ctx__s_push(ctx(), (Expr *)item);
      count += 1;
      continue;
    }
    if (curr()->type == TK_COLON) {
"""),
    # As many arguments as there are, instead of what lies behind the buffer, and a stack with an end.
    ("    py_TValue *buf = self->vectorcall_buffer;\n\n    for (py_TValue *curr = base;",
     """    int most = kwargc * 2;
    for (py_TValue *curr = base; curr != p1; curr++) {
      py_TValue *items;
      if (curr->type != tp_star_wrapper || pk_arrayview(py_getslot(curr, 0), &items) >= 0)
        continue;
      if (!push_spread(curr, 1))
        goto __ERROR;
      py_setslot(curr, 0, TOP());
      POP();
    }
    for (py_TValue *curr = base; curr != sp; curr++) {
      if (curr->type == tp_star_wrapper) {
        py_TValue *held = py_getslot(curr, 0);
        py_TValue *none;
        int length = curr < p1 ? pk_arrayview(held, &none) : held->type == tp_dict ? 2 * py_dict_len(held) : 0;
        most += length > 0 ? length : 0;
      } else if (curr < p1) {
        most += 1;
      }
    }
    if (most > SPREAD_MAX) {
      TypeError("%d arguments, limit %d", most, SPREAD_MAX);
      goto __ERROR;
    }
    py_TValue *buf = self->spread_buffer;

    for (py_TValue *curr = base;"""),
    ("  py_TValue vectorcall_buffer[PK_MAX_CO_VARNAMES];\n",
     "  py_TValue vectorcall_buffer[PK_MAX_CO_VARNAMES];\n  py_TValue spread_buffer[SPREAD_MAX];\n"),
    ("  // We allocate extra places to keep `_sp` valid to detect stack overflow\n"
     "  py_TValue begin[PK_VM_STACK_SIZE + PK_MAX_CO_VARNAMES];\n",
     "  // What a frame may need beyond its beginning, which is below the end.\n"
     "  py_TValue begin[PK_VM_STACK_SIZE + 4 * SPREAD_MAX];\n"),
    ("typedef struct ValueStack {\n",
     "// Items of a display, or arguments of a call, that are on the stack.\n#define SPREAD_MAX 4096\n\n"
     "typedef struct ValueStack {\n"),
    ("  if (self->recursion_depth >= self->max_recursion_depth) {\n    py_exception(tp_RecursionError,",
     "  if (self->recursion_depth >= self->max_recursion_depth || self->stack.sp > self->stack.end) {\n"
     "    py_exception(tp_RecursionError,"),
    ("    check(EXPR(self));\n    count += 1;\n    if (count == 1 && match(TK_FOR)) {\n      check(consume_comp(self, OP_BUILD_LIST, OP_LIST_APPEND));\n"
     "      consume(TK_RBRACKET);\n",
     "    check(EXPR(self));\n    count += 1;\n    if (count > SPREAD_MAX)\n"
     "      return SyntaxError(self, \"a list of more than %d items\", SPREAD_MAX);\n"
     "    if (count == 1 && match(TK_FOR)) {\n      check(consume_comp(self, OP_BUILD_LIST, OP_LIST_APPEND));\n"
     "      consume(TK_RBRACKET);\n"),
    ("    count += 1; // key-value pair count\n",
     "    count += 1; // key-value pair count\n    if (count > SPREAD_MAX / 2)\n"
     "      return SyntaxError(self, \"a dict or set of more than %d items\", SPREAD_MAX / 2);\n"),
    ("    check(parse_expression(self, PREC_LOWEST + 1, allow_slice));\n    count += 1;\n  } while (match(TK_COMMA));\n",
     "    check(parse_expression(self, PREC_LOWEST + 1, allow_slice));\n    count += 1;\n"
     "    if (count > SPREAD_MAX)\n      return SyntaxError(self, \"a tuple of more than %d items\", SPREAD_MAX);\n"
     "  } while (match(TK_COMMA));\n"),
    ("        c11_vector__push(Expr *, &e->args, Ctx__s_popx(ctx()));\n      }\n    }\n  } while (match(TK_COMMA));\n",
     "        c11_vector__push(Expr *, &e->args, Ctx__s_popx(ctx()));\n      }\n    }\n"
     "    if (e->args.length > 255 || e->kwargs.length > 255)\n"
     "      return SyntaxError(self, \"more than 255 arguments\");\n  } while (match(TK_COMMA));\n"),
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
