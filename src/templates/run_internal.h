/* One execution of a template (C++). */
#ifndef DW_TEMPLATES_RUN_INTERNAL_H
#define DW_TEMPLATES_RUN_INTERNAL_H

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "templates/functions_internal.h"
#include "templates/syntax_internal.h"

namespace dw
{

/* Names and their values; behind them, those of the scope around. */
struct scope {
    std::shared_ptr<scope> around;
    std::vector<std::pair<uint32_t, jinja::value>> variables;
    bool is_kept = false; /* by a macro */

    explicit scope(std::shared_ptr<scope> outer) : around(std::move(outer))
    {
    }
};

enum class flow { goes_on, breaks, continues };

class run final : public member_finder
{
  public:
    run(const syntax &of, jinja::context &with);
    ~run();
    run(const run &) = delete;
    run &operator=(const run &) = delete;

    jinja::value all();

    /* For functions. */
    jinja::value call(const jinja::value &callee, const call_args &args);
    /* self.name, self[key]: undefined where there is none. */
    jinja::value attribute(const jinja::value &self, const jinja::value &name) override;
    jinja::value item(const jinja::value &self, const jinja::value &key) override;
    /* No dict's items among them. */
    jinja::value attribute_alone(const jinja::value &self, const jinja::value &name);
    /* What `for` goes over. */
    std::vector<jinja::value> iterate(const jinja::value &v);
    jinja::value filter(const std::string &name, const jinja::value &self, const call_args &args);
    bool test(const std::string &name, const jinja::value &self, const call_args &args);
    /* Namespaces may hold each other: what they hold is let go of when the template ends. */
    void keep(const jinja::value &space);
    int64_t now() const
    {
        return context.current_time;
    }
    /* A loop's body over `items`, as text; `from`: that of the loop. */
    jinja::value loop_text(const node &n, const std::shared_ptr<scope> &from,
                           const jinja::value &over, int64_t depth);
    jinja::value call_macro(const node &n, const std::shared_ptr<scope> &from,
                            const std::string &name, const call_args &args);
    jinja::value block_text(const node &n);
    bool autoescape = false;

  private:
    const syntax &program;
    jinja::context &context;
    std::shared_ptr<scope> here;
    std::shared_ptr<scope> root;
    std::vector<jinja::value> globals; /* by symbol, once looked up */
    std::vector<std::shared_ptr<scope>> kept_scopes;
    std::vector<jinja::value> kept_spaces;
    text_builder *out;
    size_t at = 0; /* where it is, for errors */

    /* statements: program.cpp */
    flow body(const node_list &nodes);
    flow inner(const node_list &nodes);
    flow statement(const node &n);
    flow branch(const node &n);
    flow loop(const node &n);
    flow loop_over(const node &n, const jinja::value &over, int64_t depth);
    std::vector<jinja::value> chosen(const node &n, std::vector<jinja::value> items);
    void output(const node &n);
    void write(const jinja::value &v);
    void define_macro(const node &n);
    void call_with_body(const node &n);
    void filter_body(const node &n);
    void assign_body(const node &n);
    flow with(const node &n);
    flow escaping(const node &n);
    jinja::value text_in(const std::shared_ptr<scope> &where, const node_list &nodes);
    void bind_arguments(const node &n, const std::string &name, const call_args &args);
    void bind_rest(const node &n, const std::string &name, const call_args &args);
    void assign(const node &target, const jinja::value &v);
    void unpack(const node &target, const jinja::value &v);
    void set(uint32_t symbol, const jinja::value &v);
    jinja::value look_up(uint32_t symbol);
    jinja::value global(uint32_t symbol);
    void keep_scope();

    /* expressions: expression.cpp */
    jinja::value evaluate(const node &n);
    jinja::value evaluate_or_none(const node_ptr &n);
    jinja::value collection(const node &n);
    jinja::value unary(const node &n);
    jinja::value concat(const node &n);
    jinja::value compare(const node &n);
    bool holds(const std::string &op, const jinja::value &a, const jinja::value &b);
    jinja::value conditional(const node &n);
    jinja::value slice(const node &n);
    jinja::value calls(const node &n);
    jinja::value filtered(const node &n, const jinja::value *subject);
    jinja::value tested(const node &n);
    call_args arguments(const node &n);
    jinja::value attribute_of(const node &n);
    jinja::value item_of(const node &n);
    void note(const jinja::value &v, const std::string &op, bool deep = false);
    friend struct scope_change;
};

/* Until it ends, names are those of another scope. */
struct scope_change {
    run &r;
    std::shared_ptr<scope> before;
    scope_change(run &of, std::shared_ptr<scope> to) : r(of), before(std::move(of.here))
    {
        r.here = std::move(to);
    }
    ~scope_change()
    {
        r.here = std::move(before);
    }
    scope_change(const scope_change &) = delete;
    scope_change &operator=(const scope_change &) = delete;
};

/* ---- what statements make: objects.cpp ------------------------------------------------ */

struct value_loop_t : value_callable_t, std::enable_shared_from_this<value_loop_t> {
    std::vector<jinja::value> items;
    size_t index = 0;
    int64_t depth;
    const node *recursive = nullptr;
    std::shared_ptr<scope> from;
    std::vector<jinja::value> last_seen; /* by changed() */
    bool has_seen = false;

    value_loop_t(std::vector<jinja::value> over, int64_t level)
        : value_callable_t("<LoopContext>"), items(std::move(over)), depth(level)
    {
    }
    std::string type() const override
    {
        return "Loop";
    }
    jinja::value call(run &r, const call_args &args) override;
    jinja::value attribute(run &r, const std::string &what) override;
};

struct value_macro_t : value_callable_t {
    const node *is;
    std::shared_ptr<scope> from;

    value_macro_t(const node *what, std::string called, std::shared_ptr<scope> defined_in)
        : value_callable_t(std::move(called)), is(what), from(std::move(defined_in))
    {
    }
    jinja::value call(run &r, const call_args &args) override;
    jinja::value attribute(run &r, const std::string &what) override;
    std::string written() const override
    {
        return "<Macro '" + name + "'>";
    }
};

jinja::value make_blocks(const syntax &program);

} // namespace dw

#endif
