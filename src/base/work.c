#include "base/work.h"

void dw_work_begin(dw_work *work, uint64_t limit)
{
    *work = (dw_work){.rest = limit, .limit = limit, .stop = work->stop};
}

bool dw_work_ask(dw_work *work, uint64_t steps)
{
    uint64_t wanted = steps - work->portion;
    dw_stop_pause(work->stop);
    work->stopped = dw_stop_asked(work->stop);
    if (work->stopped || wanted > work->rest) {
        work->portion = 0;
        work->rest = 0;
        return false;
    }
    work->rest -= wanted;
    uint64_t more = work->rest < DW_WORK_PORTION ? work->rest : DW_WORK_PORTION;
    work->rest -= more;
    work->portion = more;
    return true;
}

uint64_t dw_work_taken(const dw_work *work)
{
    return work->limit - work->rest - work->portion;
}
